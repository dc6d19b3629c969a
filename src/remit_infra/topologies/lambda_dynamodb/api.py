"""The REST API in front of the functions: routes, models, throttling, logs, the web firewall.

API Gateway refuses what is no JSON object, and answers in the service's own words; everything else
is for the functions, which name the field and leave an audit record.
"""

import json
from collections.abc import Mapping

from aws_cdk import Aws, RemovalPolicy
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_wafv2 as wafv2
from constructs import Construct

from remit_infra.model.environments import Names
from remit_infra.model.gateway import (
    ACCESS_LOG,
    COUNTED_RULES,
    FIREWALL_RULES,
    GATEWAY_RESPONSES,
    REDACTED_HEADERS,
    ROUTES,
)

REQUESTS_PER_SECOND = 1_000
BURST = 2_000
REQUESTS_PER_ADDRESS = REQUESTS_PER_SECOND * 300
"""In five minutes: one caller may use all of the API's rate, for a merchant's server is one."""


def make_api(
    scope: Construct,
    names: Names,
    functions: Mapping[str, lambda_.Function],
    key: kms.Key,
    retention: logs.RetentionDays,
) -> apigateway.RestApi:
    name = names("api", "payment-api")

    def log_group(purpose: str, group: str) -> logs.LogGroup:
        return logs.LogGroup(
            scope,
            f"{purpose}-logs",
            log_group_name=group,
            encryption_key=key,
            retention=retention,
            removal_policy=RemovalPolicy.DESTROY,
        )

    api = apigateway.RestApi(
        scope,
        "payment-api",
        rest_api_name=name,
        description="Takes payments: validate, process, show.",
        endpoint_types=[apigateway.EndpointType.REGIONAL],
        cloud_watch_role=False,
        fail_on_warnings=True,
        deploy_options=apigateway.StageOptions(
            stage_name=names.environment.name,
            access_log_destination=apigateway.LogGroupLogDestination(
                log_group("access", f"/aws/apigateway/{name}")
            ),
            access_log_format=apigateway.AccessLogFormat.custom(json.dumps(dict(ACCESS_LOG))),
            logging_level=apigateway.MethodLoggingLevel.ERROR,
            data_trace_enabled=False,
            metrics_enabled=True,
            throttling_rate_limit=REQUESTS_PER_SECOND,
            throttling_burst_limit=BURST,
            tracing_enabled=True,
        ),
    )
    api.node.try_remove_child("Endpoint")  # an output that the stack has under its own name
    for method, path, function in ROUTES:
        _route(api, method, path, functions[function])
    for purpose, refusal in GATEWAY_RESPONSES.items():
        api.add_gateway_response(
            f"{purpose}-response",
            type=apigateway.ResponseType.of(refusal.kind),
            status_code=refusal.status,
            response_headers={"X-Request-Id": "context.requestId"},
            templates={"application/json": refusal.template},
        )
    execution = log_group(
        "execution",
        f"API-Gateway-Execution-Logs_{api.rest_api_id}/{names.environment.name}",
    )
    # API Gateway would make it itself, without an end to what it keeps.
    api.deployment_stage.node.add_dependency(execution)
    _protect(scope, names, api, key, retention)
    return api


def _route(
    api: apigateway.RestApi,
    method: str,
    path: str,
    function: lambda_.Function,
) -> None:
    integration = apigateway.LambdaIntegration(function, allow_test_invoke=False)
    resource = api.root.resource_for_path(path)
    if method == "GET":
        resource.add_method(
            method, integration, authorization_type=apigateway.AuthorizationType.NONE
        )
        return
    model = api.add_model(
        f"{path}-model",
        content_type="application/json",
        model_name=path.capitalize(),
        schema=apigateway.JsonSchema(
            schema=apigateway.JsonSchemaVersion.DRAFT4,
            type=apigateway.JsonSchemaType.OBJECT,
        ),
    )
    resource.add_method(
        method,
        integration,
        authorization_type=apigateway.AuthorizationType.NONE,
        request_models={"application/json": model},
        request_validator=api.add_request_validator(
            f"{path}-validator", validate_request_body=True, validate_request_parameters=True
        ),
    )


def _protect(
    scope: Construct,
    names: Names,
    api: apigateway.RestApi,
    key: kms.Key,
    retention: logs.RetentionDays,
) -> None:
    """The web firewall: AWS's rules for common attacks, and a rate for each address."""
    acl = wafv2.CfnWebACL(
        scope,
        "firewall",
        name=names("web acl", "payment-api"),
        scope="REGIONAL",
        default_action=wafv2.CfnWebACL.DefaultActionProperty(allow={}),
        rules=[
            *(_managed(number, rule) for number, rule in enumerate(FIREWALL_RULES)),
            _rate(len(FIREWALL_RULES)),
        ],
        visibility_config=_visible("firewall"),
    )
    stage = f"arn:{Aws.PARTITION}:apigateway:{Aws.REGION}::/restapis/{api.rest_api_id}/stages/"
    wafv2.CfnWebACLAssociation(
        scope,
        "firewall-association",
        resource_arn=f"{stage}{api.deployment_stage.stage_name}",
        web_acl_arn=acl.attr_arn,
    )
    group_name = f"aws-waf-logs-{names('web acl', 'payment-api')}"
    group = logs.LogGroup(
        scope,
        "firewall-logs",
        log_group_name=group_name,
        encryption_key=key,
        retention=retention,
        removal_policy=RemovalPolicy.DESTROY,
    )
    # The ARN as WAF wants it, without the `:*` that CloudFormation's own ends in.
    account = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}"
    logging = wafv2.CfnLoggingConfiguration(
        scope,
        "firewall-logging",
        resource_arn=acl.attr_arn,
        log_destination_configs=[f"{account}:log-group:{group_name}"],
        redacted_fields=[
            wafv2.CfnLoggingConfiguration.FieldToMatchProperty(single_header={"Name": header})
            for header in REDACTED_HEADERS
        ],
    )
    logging.node.add_dependency(group)


def _managed(priority: int, rule: str) -> wafv2.CfnWebACL.RuleProperty:
    return wafv2.CfnWebACL.RuleProperty(
        name=rule,
        priority=priority,
        override_action=wafv2.CfnWebACL.OverrideActionProperty(none={}),
        statement=wafv2.CfnWebACL.StatementProperty(
            managed_rule_group_statement=wafv2.CfnWebACL.ManagedRuleGroupStatementProperty(
                vendor_name="AWS", name=rule, rule_action_overrides=_counted(rule)
            )
        ),
        visibility_config=_visible(rule),
    )


def _counted(rule: str) -> list[wafv2.CfnWebACL.RuleActionOverrideProperty] | None:
    if rule not in COUNTED_RULES:
        return None
    return [
        wafv2.CfnWebACL.RuleActionOverrideProperty(
            name=COUNTED_RULES[rule],
            action_to_use=wafv2.CfnWebACL.RuleActionProperty(count={}),
        )
    ]


def _rate(priority: int) -> wafv2.CfnWebACL.RuleProperty:
    return wafv2.CfnWebACL.RuleProperty(
        name="rate",
        priority=priority,
        action=wafv2.CfnWebACL.RuleActionProperty(block={}),
        statement=wafv2.CfnWebACL.StatementProperty(
            rate_based_statement=wafv2.CfnWebACL.RateBasedStatementProperty(
                aggregate_key_type="IP", limit=REQUESTS_PER_ADDRESS
            )
        ),
        visibility_config=_visible("rate"),
    )


def _visible(rule: str) -> wafv2.CfnWebACL.VisibilityConfigProperty:
    return wafv2.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=rule, sampled_requests_enabled=False
    )
