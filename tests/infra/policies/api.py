"""API Gateway: throttled, traced, logged, and as the program says it is."""

from collections.abc import Iterator

from remit_infra.graph.graph import Graph, references
from tests.infra.graphs import needs, of, one
from tests.infra.policies.functions import log_group_of
from tests.infra.policies.policy import DYNAMODB, LAMBDA, POSTGRES, policy

LIMITS = {DYNAMODB: (1_000, 2_000), POSTGRES: (50, 100)}
"""Requests a second, and a burst of them."""


@policy(*LAMBDA)
def the_api_is_throttled_traced_and_logged(graph: Graph) -> Iterator[str]:
    throttled = {}
    for found in of(graph, "apigateway/methodSettings:MethodSettings"):
        limits = found.properties.get("settings", {})
        throttled[found.properties.get("methodPath")] = (
            limits.get("throttlingRateLimit"),
            limits.get("throttlingBurstLimit"),
        )
    if throttled != {"*/*": LIMITS[graph.topology]}:
        yield f"methods are throttled as {throttled}"
    for stage in of(graph, "apigateway/stage:Stage"):
        given = stage.properties
        if given.get("xrayTracingEnabled") is not True:
            yield f"{stage.name} is not traced"
        if given.get("stageName") != graph.suffix.partition("-")[0]:
            yield f"{stage.name} is not named for its environment"
        access = given.get("accessLogSettings", {}).get("destinationArn", "")
        if not log_group_of(graph, access).startswith("/aws/apigateway/payment-api-"):
            yield f"{stage.name} has no access log"


@policy(*LAMBDA)
def bodies_are_validated_by_a_model(graph: Graph) -> Iterator[str]:
    validators = {
        validator.name
        for validator in of(graph, "apigateway/requestValidator:RequestValidator")
        if validator.properties.get("validateRequestBody") is True
    }
    for method in of(graph, "apigateway/method:Method"):
        given = method.properties
        if given["httpMethod"] == "POST" and not (
            references(given.get("requestValidatorId", "")) & validators
            and given.get("requestModels")
        ):
            yield f"{method.name} takes any body"


@policy(*LAMBDA)
def a_change_of_a_method_reaches_the_stage(graph: Graph) -> Iterator[str]:
    stages = of(graph, "apigateway/stage:Stage")
    on_a_stage = {n for stage in stages for n in references(stage.properties["deployment"])}
    methods = {
        resource.name
        for kind in ("method:Method", "integration:Integration")
        for resource in of(graph, f"apigateway/{kind}")
    }
    deployments = of(graph, "apigateway/deployment:Deployment")
    if len(deployments) != 1:
        yield "there is no deployment"
    for deployment in deployments:
        if deployment.name not in on_a_stage:
            yield f"{deployment.name} is on no stage"
        if not methods <= needs(graph, deployment.name):
            yield f"{deployment.name} is made before its methods"
        # The CDK makes another deployment for other methods.
        if graph.topology == POSTGRES and not deployment.properties.get("triggers"):
            yield "a change of a method does not reach the stage"


@policy(POSTGRES)
def the_api_asks_for_a_key_that_is_limited(graph: Graph) -> Iterator[str]:
    for method in of(graph, "apigateway/method:Method"):
        is_health = method.name.endswith("-health")
        if method.properties.get("apiKeyRequired", False) is is_health:
            yield f"{method.name} asks for {'a' if is_health else 'no'} key"
    plan = one(graph, "apigateway/usagePlan:UsagePlan", "payment-api-plan")
    if plan.get("quotaSettings") != {"limit": 10_000, "period": "DAY"}:
        yield "the plan has no quota"
    if not references(plan.get("apiStages", [])):
        yield "the plan is for no stage"
    bound = one(graph, "apigateway/usagePlanKey:UsagePlanKey", "payment-api-plan-key")
    if references(bound) != {"payment-api-plan", "payment-api-key"}:
        yield "no key is bound to the plan"
