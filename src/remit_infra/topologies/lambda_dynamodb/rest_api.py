"""API Gateway: routes to functions, models for bodies, throttling, logs, and the web firewall.

API Gateway rejects a body that is no JSON object, with an error in the service's form. The
functions validate everything else: they name the field and write an audit record.
"""

import json
import re
from collections.abc import Mapping

from aws_cdk import Aws
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_wafv2 as wafv2

from remit_infra.model.gateway import (
    ACCESS_LOG,
    COUNTED_RULES,
    FIREWALL_RULES,
    GATEWAY_RESPONSES,
    REDACTED_HEADERS,
    ROUTES,
    path_words,
)
from remit_infra.topologies.lambda_dynamodb.context import StackContext

REQUESTS_PER_SECOND = 1_000
BURST = 2_000
REQUESTS_PER_ADDRESS = REQUESTS_PER_SECOND * 300
"""In five minutes. A merchant's server is one address, which may use the whole rate of the API."""


def make_rest_api(
    context: StackContext, functions: Mapping[str, lambda_.Function]
) -> apigateway.RestApi:
    """The API. `functions` are by the modules that the routes name."""
    names = context.names
    name, stage = names("api", "payment-api"), names.environment.name
    access_logs = context.log_group("access-logs", f"/aws/apigateway/{name}")
    api = apigateway.RestApi(
        context.stack,
        "payment-api",
        rest_api_name=name,
        description="Takes payments: validate, process, show.",
        endpoint_types=[apigateway.EndpointType.REGIONAL],
        cloud_watch_role=False,
        fail_on_warnings=True,
        deploy_options=apigateway.StageOptions(
            stage_name=stage,
            access_log_destination=apigateway.LogGroupLogDestination(access_logs),
            access_log_format=apigateway.AccessLogFormat.custom(json.dumps(dict(ACCESS_LOG))),
            logging_level=apigateway.MethodLoggingLevel.ERROR,
            data_trace_enabled=False,
            metrics_enabled=True,
            throttling_rate_limit=REQUESTS_PER_SECOND,
            throttling_burst_limit=BURST,
            tracing_enabled=True,
        ),
    )
    # The CDK adds an output with the URL. The stack has its own, by the name that is agreed on.
    api.node.try_remove_child("Endpoint")
    for method, path, function in ROUTES:
        _route(api, method, path, functions[function])
    for purpose, response in GATEWAY_RESPONSES.items():
        api.add_gateway_response(
            f"{purpose}-response",
            type=apigateway.ResponseType.of(response.kind),
            status_code=response.status,
            response_headers={"X-Request-Id": "context.requestId"},
            templates={"application/json": response.template},
        )
    # API Gateway would make the group itself, without a retention.
    execution_logs = context.log_group(
        "execution-logs", f"API-Gateway-Execution-Logs_{api.rest_api_id}/{stage}"
    )
    api.deployment_stage.node.add_dependency(execution_logs)
    _make_web_firewall(context, api)
    return api


def _route(api: apigateway.RestApi, method: str, path: str, function: lambda_.Function) -> None:
    integration = apigateway.LambdaIntegration(function, allow_test_invoke=False)
    resource = api.root.resource_for_path(path)
    if method == "GET":
        resource.add_method(
            method, integration, authorization_type=apigateway.AuthorizationType.NONE
        )
        return
    words = path_words(path)
    model = api.add_model(
        f"{words}-model",
        content_type="application/json",
        model_name="".join(re.findall("[A-Za-z0-9]+", words.title())),
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
            f"{words}-validator", validate_request_body=True, validate_request_parameters=True
        ),
    )


def _make_web_firewall(context: StackContext, api: apigateway.RestApi) -> None:
    """AWS's managed rules, and a limit of requests from one address."""
    stack, name = context.stack, context.names("web acl", "payment-api")
    acl = wafv2.CfnWebACL(
        stack,
        "firewall",
        name=name,
        scope="REGIONAL",
        default_action=wafv2.CfnWebACL.DefaultActionProperty(allow={}),
        rules=[
            *(_managed_rule(number, rule) for number, rule in enumerate(FIREWALL_RULES)),
            _rate_rule(len(FIREWALL_RULES)),
        ],
        visibility_config=_visibility("firewall"),
    )
    stages = f"arn:{Aws.PARTITION}:apigateway:{Aws.REGION}::/restapis/{api.rest_api_id}/stages/"
    wafv2.CfnWebACLAssociation(
        stack,
        "firewall-association",
        resource_arn=f"{stages}{api.deployment_stage.stage_name}",
        web_acl_arn=acl.attr_arn,
    )
    group_name = f"aws-waf-logs-{name}"
    group = context.log_group("firewall-logs", group_name)
    # WAF requires the ARN without the `:*` at the end of CloudFormation's own.
    group_arn = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:{group_name}"
    logging = wafv2.CfnLoggingConfiguration(
        stack,
        "firewall-logging",
        resource_arn=acl.attr_arn,
        log_destination_configs=[group_arn],
        redacted_fields=[
            wafv2.CfnLoggingConfiguration.FieldToMatchProperty(single_header={"Name": header})
            for header in REDACTED_HEADERS
        ],
    )
    logging.node.add_dependency(group)


def _managed_rule(priority: int, rule: str) -> wafv2.CfnWebACL.RuleProperty:
    return wafv2.CfnWebACL.RuleProperty(
        name=rule,
        priority=priority,
        override_action=wafv2.CfnWebACL.OverrideActionProperty(none={}),
        statement=wafv2.CfnWebACL.StatementProperty(
            managed_rule_group_statement=wafv2.CfnWebACL.ManagedRuleGroupStatementProperty(
                vendor_name="AWS", name=rule, rule_action_overrides=_rule_overrides(rule)
            )
        ),
        visibility_config=_visibility(rule),
    )


def _rule_overrides(rule: str) -> list[wafv2.CfnWebACL.RuleActionOverrideProperty] | None:
    if rule not in COUNTED_RULES:
        return None
    return [
        wafv2.CfnWebACL.RuleActionOverrideProperty(
            name=COUNTED_RULES[rule],
            action_to_use=wafv2.CfnWebACL.RuleActionProperty(count={}),
        )
    ]


def _rate_rule(priority: int) -> wafv2.CfnWebACL.RuleProperty:
    return wafv2.CfnWebACL.RuleProperty(
        name="rate",
        priority=priority,
        action=wafv2.CfnWebACL.RuleActionProperty(block={}),
        statement=wafv2.CfnWebACL.StatementProperty(
            rate_based_statement=wafv2.CfnWebACL.RateBasedStatementProperty(
                aggregate_key_type="IP", limit=REQUESTS_PER_ADDRESS
            )
        ),
        visibility_config=_visibility("rate"),
    )


def _visibility(rule: str) -> wafv2.CfnWebACL.VisibilityConfigProperty:
    return wafv2.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=rule, sampled_requests_enabled=False
    )
