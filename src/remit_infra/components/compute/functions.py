"""The functions: each with its own role, log group and limit, in the private subnets.

A new version takes requests by steps: the alias that callers use stays where it is, and CodeDeploy
moves it while it watches the alarms. Nothing is moved before the database is migrated.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Ground
from remit_infra.components.roles import document, make_role
from remit_infra.model.environments import Names
from remit_infra.model.permissions import Statement

ALIAS = "live"
DEPLOYMENT_CONFIG = "CodeDeployDefault.LambdaCanary10Percent5Minutes"


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One function: its module among the service's entry points, and its sizes."""

    name: str
    module: str
    timeout_seconds: int
    memory_mib: int
    concurrency: int


@dataclass(frozen=True, kw_only=True)
class Code:
    """The zip that every function runs, and for which runtime it was made."""

    path: str
    python: str
    architecture: str


class Function(pulumi.ComponentResource):
    """A function with its role's policy and its log group, in the private subnets."""

    def __init__(
        self,
        ground: Ground,
        spec: Spec,
        *,
        code: Code,
        role: aws.iam.Role,
        statements: Sequence[Statement],
        resources: Mapping[str, pulumi.Input[str]],
        environment: Mapping[str, pulumi.Input[str]],
        subnets: Sequence[aws.ec2.Subnet],
        group: aws.ec2.SecurityGroup,
    ) -> None:
        super().__init__("remit:functions:Function", spec.name)
        self.spec = spec
        names = ground.names
        full_name = names("function", spec.name)
        under = pulumi.ResourceOptions(parent=self)
        logs = ground.log_group(f"{spec.name}-logs", f"/aws/lambda/{full_name}", under)
        policy = aws.iam.RolePolicy(
            f"{spec.name}-policy",
            name=full_name,
            role=role.name,
            policy=document(
                statements,
                {**resources, "*": "*", "log group": pulumi.Output.concat(logs.arn, ":*")},
            ),
            opts=under,
        )
        self.function = aws.lambda_.Function(
            spec.name,
            name=full_name,
            runtime=f"python{code.python}",
            architectures=[code.architecture],
            handler=f"remit.entrypoints.lambdas.{spec.module}.handler",
            code=pulumi.FileArchive(code.path),
            role=role.arn,
            memory_size=spec.memory_mib,
            timeout=spec.timeout_seconds,
            reserved_concurrent_executions=spec.concurrency,
            publish=True,
            kms_key_arn=ground.key.arn,
            environment={
                "variables": {**environment, "POWERTOOLS_SERVICE_NAME": f"payment-{names.suffix}"}
            },
            tracing_config={"mode": "Active"},
            logging_config={"log_format": "Text", "log_group": logs.name},
            vpc_config={
                "subnet_ids": [subnet.id for subnet in subnets],
                "security_group_ids": [group.id],
            },
            # Not before it may log, be in the network, and be called.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[logs, policy]),
        )
        self.register_outputs({"name": self.function.name})

    def publish(self, ready: Sequence[pulumi.Resource]) -> aws.lambda_.Alias:
        """The alias `live` that callers use, once what must be `ready` is: the migrated database.
        It begins at the first version; CodeDeploy moves it on.
        """
        return aws.lambda_.Alias(
            f"{self.spec.name}-{ALIAS}",
            name=ALIAS,
            function_name=self.function.name,
            function_version=self.function.version,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(ready),
                ignore_changes=["functionVersion", "routingConfig"],
            ),
        )


def let_call(
    name: str,
    alias: aws.lambda_.Alias,
    *,
    caller: str,
    source_arn: pulumi.Input[str],
    opts: pulumi.ResourceOptions | None = None,
) -> aws.lambda_.Permission:
    """Lets one of AWS's services call the alias, for one of its resources alone."""
    return aws.lambda_.Permission(
        f"{name}-permission",
        function=alias.function_name,
        qualifier=alias.name,
        action="lambda:InvokeFunction",
        principal=f"{caller}.amazonaws.com",
        source_arn=source_arn,
        opts=opts,
    )


def migrate(function: Function) -> aws.lambda_.Invocation:
    """Calls the migration whenever its code is new. A failure stops the deployment here."""
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
    """Gradual deployment of each function: a tenth of the calls for five minutes, then all; back
    at once if one of its alarms fires.
    """
    application = aws.codedeploy.Application(
        "payment-releases",
        name=names("release", "payment-releases"),
        compute_platform="Lambda",
    )
    role = make_role(names, "payment-releases", service="codedeploy.amazonaws.com")
    allowed = aws.iam.RolePolicyAttachment(
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
            opts=pulumi.ResourceOptions(depends_on=[allowed, aliases[name]]),
        )
    return application
