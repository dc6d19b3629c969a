"""The Lambda functions of the stack, each with its own role, log group and concurrency limit."""

from collections.abc import Mapping
from typing import Any, cast

from aws_cdk import CfnParameter, CfnResource, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from remit_infra.model.compute import FUNCTION_MEMORY_MIB, FunctionSpec
from remit_infra.model.environments import Names
from remit_infra.model.permissions import LAMBDA_DYNAMODB, Statement
from remit_infra.model.service_env import service_environment
from remit_infra.topologies.lambda_dynamodb.configuration import (
    FUNCTIONS,
    LambdaDynamodbConfiguration,
)
from remit_infra.topologies.lambda_dynamodb.context import StackContext
from remit_infra.topologies.lambda_dynamodb.storage import StackStorage


def make_roles(stack: Construct, names: Names) -> dict[str, iam.Role]:
    """Roles without permissions, by function. The key policy needs them before other resources."""
    return {
        function.name: iam.Role(
            stack,
            f"{function.name}-role",
            role_name=names("role", function.name),
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        )
        for function in FUNCTIONS
    }


def make_functions(
    context: StackContext,
    configuration: LambdaDynamodbConfiguration,
    roles: Mapping[str, iam.Role],
    storage: StackStorage,
    *,
    monitored: str,
) -> dict[str, lambda_.Function]:
    """The functions by name. `monitored` are the metrics that the health monitor evaluates. The
    parameters CodeBucket and CodeKey of the stack say where the zip is.
    """
    settings = {**storage.settings(), **configuration.settings}
    of_health = {**settings, "monitored_metrics": monitored}
    runtime = {
        "code": lambda_.Code.from_cfn_parameters(
            bucket_name_param=CfnParameter(
                context.stack, "CodeBucket", default="named-by-the-deployment"
            ),
            object_key_param=CfnParameter(context.stack, "CodeKey", default="function.zip"),
        ),
        "runtime": lambda_.Runtime(f"python{configuration.python}", lambda_.RuntimeFamily.PYTHON),
        "architecture": lambda_.Architecture.custom(configuration.architecture),
    }
    return {
        spec.name: _make_function(
            context,
            spec,
            roles[spec.name],
            resources=storage.resources(),
            environment=service_environment(of_health if spec.module == "health" else settings),
            runtime=runtime,
        )
        for spec in FUNCTIONS
    }


def _make_function(
    context: StackContext,
    spec: FunctionSpec,
    role: iam.Role,
    *,
    resources: Mapping[str, str],
    environment: Mapping[str, str],
    runtime: Mapping[str, Any],
) -> lambda_.Function:
    stack, names = context.stack, context.names
    full_name = names("function", spec.name)
    logs = context.log_group(f"{spec.name}-logs", f"/aws/lambda/{full_name}")
    policy = iam.ManagedPolicy(
        stack,
        f"{spec.name}-policy",
        managed_policy_name=full_name,
        roles=[role],
        statements=[
            _policy_statement(statement, {**resources, "log group": logs.log_group_arn})
            for statement in LAMBDA_DYNAMODB[spec.name]
        ],
    )
    function = lambda_.Function(
        stack,
        spec.name,
        function_name=full_name,
        **runtime,
        handler=f"remit.entrypoints.lambdas.{spec.module}.handler",
        role=role.without_policy_updates(),
        log_group=logs,
        environment={**environment, "POWERTOOLS_SERVICE_NAME": names("function", "payment")},
        environment_encryption=context.key,
        memory_size=FUNCTION_MEMORY_MIB,
        timeout=Duration.seconds(spec.timeout_seconds),
        tracing=lambda_.Tracing.ACTIVE,
        reserved_concurrent_executions=names.environment.concurrency[spec.module],
    )
    # The function waits for its policy: a call before that could write no log. The CDK adds the
    # dependency on the role by itself.
    resource = cast(CfnResource, function.node.default_child)
    needed = cast(CfnResource, policy.node.default_child)
    resource.add_override("DependsOn", [Stack.of(stack).get_logical_id(needed)])
    return function


def _policy_statement(statement: Statement, resources: Mapping[str, str]) -> iam.PolicyStatement:
    conditions: dict[str, dict[str, str]] = {}
    for operator, key, value in statement.conditions:
        conditions.setdefault(operator, {})[key] = value
    return iam.PolicyStatement(
        sid=statement.sid,
        actions=list(statement.actions),
        resources=[resources[resource] for resource in statement.resources],
        conditions=conditions or None,
    )
