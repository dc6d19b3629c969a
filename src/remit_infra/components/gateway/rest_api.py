"""API Gateway: routes to functions, a model for bodies, API keys with a quota, throttling, logs."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from remit_infra.components.compute.functions import allow_invoke
from remit_infra.components.context import Context
from remit_infra.model.gateway import (
    ACCESS_LOG,
    API_KEY_RESPONSES,
    BODY_SCHEMA,
    GATEWAY_RESPONSES,
    PUBLIC_PATHS,
    ROUTES,
    path_pattern,
    path_words,
)

RESPONSES = {**GATEWAY_RESPONSES, **API_KEY_RESPONSES}


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """The rate and burst of the stage, and the daily quota of an API key."""

    per_second: int
    burst: int
    per_day: int


class RestApi(pulumi.ComponentResource):
    """`functions` are the aliases by the modules that the routes name."""

    def __init__(
        self,
        context: Context,
        *,
        functions: Mapping[str, aws.lambda_.Alias],
        limits: RequestLimits,
    ) -> None:
        super().__init__("remit:api:Api", "api")
        self._context = context
        self._functions = functions
        self._child = pulumi.ResourceOptions(parent=self)
        self._name = context.names("api", "payment-api")
        self.api = aws.apigateway.RestApi(
            "payment-api",
            name=self._name,
            description="Takes payments: validate, process, show.",
            endpoint_configuration={"types": "REGIONAL"},
            opts=self._child,
        )
        self._path_ids: dict[str, pulumi.Input[str]] = {"": self.api.root_resource_id}
        self._model = aws.apigateway.Model(
            "payment-api-body",
            rest_api=self.api.id,
            name="Body",
            content_type="application/json",
            schema=BODY_SCHEMA,
            opts=self._child,
        )
        self._validator = aws.apigateway.RequestValidator(
            "payment-api-validator",
            rest_api=self.api.id,
            name="body",
            validate_request_body=True,
            validate_request_parameters=True,
            opts=self._child,
        )
        parts = [part for route in ROUTES for part in self._route(*route)]
        self.stage = self._stage([*parts, *self._gateway_responses()])
        aws.apigateway.MethodSettings(
            "payment-api-settings",
            rest_api=self.api.id,
            stage_name=self.stage.stage_name,
            method_path="*/*",
            settings={
                "throttling_rate_limit": limits.per_second,
                "throttling_burst_limit": limits.burst,
                "metrics_enabled": True,
                "logging_level": "ERROR",
                "data_trace_enabled": False,
            },
            opts=self._child,
        )
        self._usage_plan(limits)
        self.register_outputs({"url": self.stage.invoke_url})

    def _route(self, method: str, path: str, module: str) -> list[pulumi.Resource]:
        """The method, its integration with the function, and the permission to invoke it."""
        label = f"payment-api-{method.lower()}-{path_words(path)}"
        path_id = self._path_id(path)
        has_body = method == "POST"
        api_method = aws.apigateway.Method(
            label,
            rest_api=self.api.id,
            resource_id=path_id,
            http_method=method,
            authorization="NONE",
            api_key_required=path not in PUBLIC_PATHS,
            request_models={"application/json": self._model.name} if has_body else None,
            request_validator_id=self._validator.id,
            opts=self._child,
        )
        alias = self._functions[module]
        integration = aws.apigateway.Integration(
            f"{label}-integration",
            rest_api=self.api.id,
            resource_id=path_id,
            http_method=api_method.http_method,
            integration_http_method="POST",
            type="AWS_PROXY",
            uri=alias.invoke_arn,
            opts=self._child,
        )
        allow_invoke(
            label,
            alias,
            service="apigateway",
            source_arn=pulumi.Output.concat(
                self.api.execution_arn, f"/*/{method}/", path_pattern(path)
            ),
            opts=self._child,
        )
        return [api_method, integration]

    def _path_id(self, path: str) -> pulumi.Input[str]:
        """The resource of a path. Makes it, and those of its parents, at the first call."""
        if path not in self._path_ids:
            parent, _, part = path.rpartition("/")
            self._path_ids[path] = aws.apigateway.Resource(
                f"payment-api-{path_words(path)}",
                rest_api=self.api.id,
                parent_id=self._path_id(parent),
                path_part=part,
                opts=self._child,
            ).id
        return self._path_ids[path]

    def _gateway_responses(self) -> list[pulumi.Resource]:
        return [
            aws.apigateway.Response(
                f"payment-api-{purpose}-response",
                rest_api_id=self.api.id,
                response_type=response.kind,
                status_code=response.status,
                response_parameters={"gatewayresponse.header.X-Request-Id": "context.requestId"},
                response_templates={"application/json": response.template},
                opts=self._child,
            )
            for purpose, response in RESPONSES.items()
        ]

    def _stage(self, parts: list[pulumi.Resource]) -> aws.apigateway.Stage:
        """The stage, named for the environment. A deployment is a snapshot of the API, so a new one
        is made whenever a route, the model or a response changes.
        """
        snapshot = json.dumps(
            [ROUTES, BODY_SCHEMA, PUBLIC_PATHS, [each.template for each in RESPONSES.values()]]
        )
        deployment = aws.apigateway.Deployment(
            "payment-api-deployment",
            rest_api=self.api.id,
            triggers={"shape": hashlib.sha256(snapshot.encode()).hexdigest()},
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[*parts, self._model, self._validator]
            ),
        )
        stage_name = self._context.names.environment.name
        access_logs = self._context.log_group(
            "payment-api-logs", f"/aws/apigateway/{self._name}", self._child
        )
        execution_logs = self._context.log_group(
            "payment-api-execution-logs",
            pulumi.Output.concat("API-Gateway-Execution-Logs_", self.api.id, f"/{stage_name}"),
            self._child,
        )
        return aws.apigateway.Stage(
            "payment-api-stage",
            rest_api=self.api.id,
            deployment=deployment.id,
            stage_name=stage_name,
            xray_tracing_enabled=True,
            access_log_settings={
                "destination_arn": access_logs.arn,
                "format": json.dumps(dict(ACCESS_LOG)),
            },
            # API Gateway would make the group itself, without a retention.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[execution_logs]),
        )

    def _usage_plan(self, limits: RequestLimits) -> None:
        """The plan in which API keys are registered, and one key for the operators' probes.
        `remit keys create` adds a key for each caller.
        """
        self.usage_plan = aws.apigateway.UsagePlan(
            "payment-api-plan",
            name=self._context.names("usage plan", "payment-api"),
            api_stages=[{"api_id": self.api.id, "stage": self.stage.stage_name}],
            quota_settings={"limit": limits.per_day, "period": "DAY"},
            throttle_settings={"rate_limit": limits.per_second, "burst_limit": limits.burst},
            opts=self._child,
        )
        probe_key = aws.apigateway.ApiKey(
            "payment-api-key",
            name=self._context.names("usage plan", "payment-api-probe"),
            description="For probes of API Gateway; the service itself does not know it.",
            opts=self._child,
        )
        aws.apigateway.UsagePlanKey(
            "payment-api-plan-key",
            key_id=probe_key.id,
            key_type="API_KEY",
            usage_plan_id=self.usage_plan.id,
            opts=self._child,
        )
