"""Lambda functions in the private subnets, each with its own role, log group and concurrency limit.

A deployment publishes a new version. Callers use the alias `live`, which stays where it is until
CodeDeploy moves it in steps and watches the alarms. Aliases wait for the migration of the database.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Context
from remit_infra.components.network.network import VpcPlacement
from remit_infra.components.roles import RolePermissions, make_role, policy_document
from remit_infra.model.compute import FUNCTION_MEMORY_MIB, FunctionSpec
from remit_infra.model.environments import Names

ALIAS = "live"
DEPLOYMENT_CONFIG = "CodeDeployDefault.LambdaCanary10Percent5Minutes"


@dataclass(frozen=True, kw_only=True)
class FunctionCode:
    """The path of the zip that all functions run, and the runtime for which it was made."""

    path: str
    python: str
    architecture: str


class Function(pulumi.ComponentResource):
    """A function with its policy and its log group."""

    def __init__(
        self,
        context: Context,
        spec: FunctionSpec,
        code: FunctionCode,
        *,
        permissions: RolePermissions,
        environment: Mapping[str, pulumi.Input[str]],
        placement: VpcPlacement,
    ) -> None:
        super().__init__("remit:functions:Function", spec.name)
        self.spec = spec
        names = context.names
        full_name = names("function", spec.name)
        child = pulumi.ResourceOptions(parent=self)
        logs = context.log_group(f"{spec.name}-logs", f"/aws/lambda/{full_name}", child)
        policy = aws.iam.RolePolicy(
            f"{spec.name}-policy",
            name=full_name,
            role=permissions.role.name,
            policy=policy_document(
                permissions.statements,
                {**permissions.resources, "log group": pulumi.Output.concat(logs.arn, ":*")},
            ),
            opts=child,
        )
        self.function = aws.lambda_.Function(
            spec.name,
            name=full_name,
            runtime=f"python{code.python}",
            architectures=[code.architecture],
            handler=f"remit.entrypoints.lambdas.{spec.module}.handler",
            code=pulumi.FileArchive(code.path),
            role=permissions.role.arn,
            memory_size=FUNCTION_MEMORY_MIB,
            timeout=spec.timeout_seconds,
            reserved_concurrent_executions=names.environment.rds.concurrency[spec.module],
            publish=True,
            kms_key_arn=context.key.arn,
            environment={
                "variables": {**environment, "POWERTOOLS_SERVICE_NAME": f"payment-{names.suffix}"}
            },
            tracing_config={"mode": "Active"},
            logging_config={"log_format": "Text", "log_group": logs.name},
            vpc_config={
                "subnet_ids": placement.subnet_ids,
                "security_group_ids": [placement.security_group.id],
            },
            # Lambda checks the role's permission for the network when it creates the function.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[logs, policy]),
        )
        self.register_outputs({"name": self.function.name})

    def publish(self, depends_on: Sequence[pulumi.Resource]) -> aws.lambda_.Alias:
        """The alias `live`, at the first version. CodeDeploy moves it later, so Pulumi ignores its
        version.
        """
        return aws.lambda_.Alias(
            f"{self.spec.name}-{ALIAS}",
            name=ALIAS,
            function_name=self.function.name,
            function_version=self.function.version,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(depends_on),
                ignore_changes=["functionVersion", "routingConfig"],
            ),
        )


def allow_invoke(
    name: str,
    alias: aws.lambda_.Alias,
    *,
    service: str,
    source_arn: pulumi.Input[str],
    opts: pulumi.ResourceOptions | None = None,
) -> aws.lambda_.Permission:
    """Allows one of AWS's services to invoke the alias, for one resource of that service only."""
    return aws.lambda_.Permission(
        f"{name}-permission",
        function=alias.function_name,
        qualifier=alias.name,
        action="lambda:InvokeFunction",
        principal=f"{service}.amazonaws.com",
        source_arn=source_arn,
        opts=opts,
    )


def run_migration(function: Function) -> aws.lambda_.Invocation:
    """Invokes the migration whenever the code has changed. A failure ends the deployment."""
    return aws.lambda_.Invocation(
        "payment-migration-run",
        function_name=function.function.name,
        qualifier=function.function.version,
        input=json.dumps({"job": "migrate"}),
        triggers={"code": function.function.code_sha256},
        opts=pulumi.ResourceOptions(parent=function),
    )


def make_releases(
    names: Names, aliases: Mapping[str, aws.lambda_.Alias], alarms: Mapping[str, list[str]]
) -> aws.codedeploy.Application:
    """Gradual deployment of each function: a tenth of the calls for five minutes, then all. It is
    rolled back at once if one of the function's `alarms` fires.
    """
    application = aws.codedeploy.Application(
        "payment-releases",
        name=names("release", "payment-releases"),
        compute_platform="Lambda",
    )
    role = make_role(names, "payment-releases", service="codedeploy.amazonaws.com")
    policy = aws.iam.RolePolicyAttachment(
        "payment-releases-policy",
        role=role.name,
        policy_arn="arn:aws:iam::aws:policy/service-role/AWSCodeDeployRoleForLambdaLimited",
    )
    for name in aliases:
        aws.codedeploy.DeploymentGroup(
            f"{name}-release",
            app_name=application.name,
            deployment_group_name=names("release", name),
            service_role_arn=role.arn,
            deployment_config_name=DEPLOYMENT_CONFIG,
            deployment_style={
                "deployment_type": "BLUE_GREEN",
                "deployment_option": "WITH_TRAFFIC_CONTROL",
            },
            auto_rollback_configuration={
                "enabled": True,
                "events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"],
            },
            alarm_configuration={"enabled": True, "alarms": alarms[name]},
            opts=pulumi.ResourceOptions(depends_on=[policy, aliases[name]]),
        )
    return application
