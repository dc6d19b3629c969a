"""The REST API: routes to functions, a model for bodies, a key and a quota, throttling, logs."""

import hashlib
import json
from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from remit_infra.components.compute.functions import let_call
from remit_infra.components.context import Ground
from remit_infra.model.gateway import (
    ACCESS_LOG,
    API_KEY_RESPONSES,
    BODY_SCHEMA,
    GATEWAY_RESPONSES,
    ROUTES,
)

ANSWERS = {**GATEWAY_RESPONSES, **API_KEY_RESPONSES}
OPEN_PATHS = ("health",)
"""What can be asked without a key."""


class Api(pulumi.ComponentResource):
    """`functions` are the aliases by the modules that the routes name."""

    def __init__(
        self,
        ground: Ground,
        *,
        functions: Mapping[str, aws.lambda_.Alias],
        requests_per_second: int,
        burst: int,
        requests_per_day: int,
    ) -> None:
        super().__init__("remit:api:Api", "api")
        self._ground = ground
        names = ground.names
        self._functions = functions
        self._under = pulumi.ResourceOptions(parent=self)
        name = names("api", "payment-api")
        self.api = aws.apigateway.RestApi(
            "payment-api",
            name=name,
            description="Takes payments: validate, process, show.",
            endpoint_configuration={"types": "REGIONAL"},
            opts=self._under,
        )
        self._paths: dict[str, pulumi.Input[str]] = {"": self.api.root_resource_id}
        self._model = aws.apigateway.Model(
            "payment-api-body",
            rest_api=self.api.id,
            name="Body",
            content_type="application/json",
            schema=BODY_SCHEMA,
            opts=self._under,
        )
        self._validator = aws.apigateway.RequestValidator(
            "payment-api-validator",
            rest_api=self.api.id,
            name="body",
            validate_request_body=True,
            validate_request_parameters=True,
            opts=self._under,
        )
        made = [made for route in ROUTES for made in self._route(*route)]
        made += self._refusals()
        self.stage = self._stage(name, made)
        aws.apigateway.MethodSettings(
            "payment-api-settings",
            rest_api=self.api.id,
            stage_name=self.stage.stage_name,
            method_path="*/*",
            settings={
                "throttling_rate_limit": requests_per_second,
                "throttling_burst_limit": burst,
                "metrics_enabled": True,
                "logging_level": "ERROR",
                "data_trace_enabled": False,
            },
            opts=self._under,
        )
        self._plan(requests_per_second, burst, requests_per_day)
        self.register_outputs({"url": self.stage.invoke_url})

    def _route(self, method: str, path: str, module: str) -> list[pulumi.Resource]:
        label = (
            f"payment-api-{method.lower()}-{path.replace('/', '-').strip('{}').replace('{', '')}"
        )
        resource_id = self._resource(path)
        takes_body = method == "POST"
        made = aws.apigateway.Method(
            label,
            rest_api=self.api.id,
            resource_id=resource_id,
            http_method=method,
            authorization="NONE",
            api_key_required=path not in OPEN_PATHS,
            request_models={"application/json": self._model.name} if takes_body else None,
            request_validator_id=self._validator.id,
            opts=self._under,
        )
        alias = self._functions[module]
        integration = aws.apigateway.Integration(
            f"{label}-integration",
            rest_api=self.api.id,
            resource_id=resource_id,
            http_method=made.http_method,
            integration_http_method="POST",
            type="AWS_PROXY",
            uri=alias.invoke_arn,
            opts=self._under,
        )
        let_call(
            label,
            alias,
            caller="apigateway",
            source_arn=pulumi.Output.concat(self.api.execution_arn, f"/*/{method}/", _any(path)),
            opts=self._under,
        )
        return [made, integration]

    def _resource(self, path: str) -> pulumi.Input[str]:
        if path not in self._paths:
            parent, _, part = path.rpartition("/")
            self._paths[path] = aws.apigateway.Resource(
                f"payment-api-{part.strip('{}')}",
                rest_api=self.api.id,
                parent_id=self._resource(parent),
                path_part=part,
                opts=self._under,
            ).id
        return self._paths[path]

    def _refusals(self) -> list[pulumi.Resource]:
        return [
            aws.apigateway.Response(
                f"payment-api-{purpose}-response",
                rest_api_id=self.api.id,
                response_type=refusal.kind,
                status_code=refusal.status,
                response_parameters={"gatewayresponse.header.X-Request-Id": "context.requestId"},
                response_templates={"application/json": refusal.template},
                opts=self._under,
            )
            for purpose, refusal in ANSWERS.items()
        ]

    def _stage(self, name: str, made: list[pulumi.Resource]) -> aws.apigateway.Stage:
        """The stage named for the environment, of a deployment that is made anew for every change
        of a route, a model or an answer.
        """
        shape = json.dumps(
            [
                ROUTES,
                BODY_SCHEMA,
                OPEN_PATHS,
                [r.template for r in ANSWERS.values()],
            ]
        )
        deployment = aws.apigateway.Deployment(
            "payment-api-deployment",
            rest_api=self.api.id,
            triggers={"shape": hashlib.sha256(shape.encode()).hexdigest()},
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[*made, self._model, self._validator]
            ),
        )
        access = self._ground.log_group("payment-api-logs", f"/aws/apigateway/{name}", self._under)
        stage_name = self._ground.names.environment.name
        execution = self._ground.log_group(
            "payment-api-execution-logs",
            pulumi.Output.concat("API-Gateway-Execution-Logs_", self.api.id, f"/{stage_name}"),
            self._under,
        )
        return aws.apigateway.Stage(
            "payment-api-stage",
            rest_api=self.api.id,
            deployment=deployment.id,
            stage_name=stage_name,
            xray_tracing_enabled=True,
            access_log_settings={
                "destination_arn": access.arn,
                "format": json.dumps(dict(ACCESS_LOG)),
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[execution]),
        )

    def _plan(self, requests_per_second: int, burst: int, requests_per_day: int) -> None:
        """The plan that keys are registered in. The stack's own key is for the operators' probes;
        `remit keys create` adds one for each caller.
        """
        self.plan = aws.apigateway.UsagePlan(
            "payment-api-plan",
            name=self._ground.names("usage plan", "payment-api"),
            api_stages=[{"api_id": self.api.id, "stage": self.stage.stage_name}],
            quota_settings={"limit": requests_per_day, "period": "DAY"},
            throttle_settings={"rate_limit": requests_per_second, "burst_limit": burst},
            opts=self._under,
        )
        probe = aws.apigateway.ApiKey(
            "payment-api-key",
            name=self._ground.names("usage plan", "payment-api-probe"),
            description="For probes of API Gateway; the service itself does not know it.",
            opts=self._under,
        )
        aws.apigateway.UsagePlanKey(
            "payment-api-plan-key",
            key_id=probe.id,
            key_type="API_KEY",
            usage_plan_id=self.plan.id,
            opts=self._under,
        )


def _any(path: str) -> str:
    """The path as an ARN has it: any value in the place of a parameter."""
    return "/".join("*" if part.startswith("{") else part for part in path.split("/"))
