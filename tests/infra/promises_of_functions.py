"""The functions, the two ways in, and what watches them: what is promised of them."""

import json
from collections.abc import Iterator

from remit.settings import read_settings
from remit_infra.graph.graph import Graph, references
from remit_infra.model.alarms import ALARMS
from remit_infra.model.service_env import RDS_SETTINGS
from tests.infra.promises_of_all import alarm_names
from tests.infra.recorded import needs, of, one

LAMBDA_ACTIONS = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
"""What Lambda does with a function's role: log, trace, and put it into the network."""

MODULES = ("validation", "processing", "health")


def every_log_group_is_written_to_kept_and_encrypted(graph: Graph) -> Iterator[str]:
    groups = {r.properties.get("name"): r for r in of(graph, "cloudwatch/logGroup:LogGroup")}
    for name, group in groups.items():
        if group.properties.get("retentionInDays") != 30:
            yield f"{name} is not kept for 30 days"
        if references(group.properties.get("kmsKeyId", "")) != {"payment-data-key"}:
            yield f"{name} is not encrypted"
    for function in of(graph, "lambda/function:Function"):
        logs = function.properties["loggingConfig"]["logGroup"]
        if logs != f"/aws/lambda/{function.properties['name']}" or logs not in groups:
            yield f"{function.name} writes to no group of ours"
    exported = one(graph, "rds/instance:Instance", "payment-db").get("enabledCloudwatchLogsExports")
    for log in ("postgresql", "upgrade"):
        if f"/aws/rds/instance/payment-db-{graph.suffix}/{log}" not in groups:
            yield f"the database's {log} log has no group"
        if log not in (exported or ()):
            yield f"the database does not export its {log} log"
    stage = one(graph, "apigateway/stage:Stage", "payment-api-stage")
    if references(stage.get("accessLogSettings", {})) != {"payment-api-logs"}:
        yield "API Gateway's access log goes nowhere"


def a_function_has_its_own_role_limit_network_and_tracing(graph: Graph) -> Iterator[str]:
    roles: list[set[str]] = []
    for function in of(graph, "lambda/function:Function"):
        given = function.properties
        roles.append(references(given["role"]))
        if given["tracingConfig"] != {"mode": "Active"}:
            yield f"{function.name} is not traced"
        if not 0 < given.get("reservedConcurrentExecutions", 0) <= 40:
            yield f"{function.name} has no limit"
        subnets = {n for n in references(given.get("vpcConfig", {})) if "subnet" in n}
        if subnets != {f"payment-private-subnet-{number}" for number in (1, 2, 3)}:
            yield f"{function.name} is not in the private subnets"
        if any(module in given["handler"] for module in MODULES) and given["timeout"] >= 29:
            yield f"{function.name} may take longer than API Gateway waits"
        waits = needs(graph, function.name)
        if not {f"{function.name}-policy", f"{function.name}-logs"} <= waits:
            yield f"{function.name} does not wait for its policy and log group"
        if references(given.get("kmsKeyArn", "")) != {"payment-data-key"}:
            yield f"{function.name} has an environment that is not encrypted"
    if len({frozenset(role) for role in roles}) != len(roles):
        yield "functions share a role"


def connections_fit_into_the_database(graph: Graph) -> Iterator[str]:
    limits = [
        function.properties["reservedConcurrentExecutions"]
        for function in of(graph, "lambda/function:Function")
    ]
    # A container holds one connection, the deliverer one more when it proves the books.
    [alarm] = [a for a in ALARMS if (a.name, a.scope) == ("{}-connections", "database")]
    if sum(limits) + 2 > alarm.threshold:
        yield f"{sum(limits)} containers want more connections than the alarm allows"


def the_service_is_told_all_it_needs(graph: Graph) -> Iterator[str]:
    for function in of(graph, "lambda/function:Function"):
        variables = function.properties["environment"]["variables"]
        settings = read_settings({n: v for n, v in variables.items() if n.startswith("REMIT_")})
        missing = [name for name in RDS_SETTINGS if getattr(settings, name) is None]
        yield from (f"{function.name} is not told {name}" for name in missing)
        if any("password" in str(value).lower() for value in variables.values()):
            yield f"{function.name} has a password in its environment"


def new_code_takes_requests_only_after_the_migration(graph: Graph) -> Iterator[str]:
    aliases = of(graph, "lambda/alias:Alias")
    for alias in aliases:
        if "payment-migration-run" not in needs(graph, alias.name):
            yield f"{alias.name} does not wait for the migration"
        if "functionVersion" not in alias.ignores:
            yield f"{alias.name} is moved at once"
    if not one(graph, "lambda/invocation:Invocation", "payment-migration-run").get("triggers"):
        yield "the migration runs only once"
    releases = of(graph, "codedeploy/deploymentGroup:DeploymentGroup")
    if len(releases) != len(aliases):
        yield "a function has no release"
    for release in releases:
        given = release.properties
        alarms = given.get("alarmConfiguration", {})
        rolls_back = given.get("autoRollbackConfiguration", {}).get("enabled")
        if not (alarms.get("enabled") and alarms.get("alarms") and rolls_back):
            yield f"{release.name} does not roll back on an alarm"
        if "Canary" not in given["deploymentConfigName"]:
            yield f"{release.name} is not gradual"
    for function in of(graph, "lambda/function:Function"):
        if not function.properties.get("publish"):
            yield f"{function.name} is not published"


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
    settings = one(graph, "apigateway/methodSettings:MethodSettings", "payment-api-settings")
    limits = settings.get("settings", {})
    if (limits.get("throttlingRateLimit"), limits.get("throttlingBurstLimit")) != (50, 100):
        yield "the stage is not throttled"
    if settings.get("methodPath") != "*/*":
        yield "not every method is throttled"


def the_api_enforces_its_model_and_publishes_its_changes(graph: Graph) -> Iterator[str]:
    for method in of(graph, "apigateway/method:Method"):
        given = method.properties
        if given["httpMethod"] == "POST" and not (
            references(given.get("requestValidatorId", "")) and given.get("requestModels")
        ):
            yield f"{method.name} takes any body"
    [validator] = of(graph, "apigateway/requestValidator:RequestValidator")
    if not validator.properties.get("validateRequestBody"):
        yield "the validator validates no body"
    [deployment] = of(graph, "apigateway/deployment:Deployment")
    if not deployment.properties.get("triggers"):
        yield "a change of a method does not reach the stage"
    integrations = {r.name for r in of(graph, "apigateway/integration:Integration")}
    if not integrations <= needs(graph, deployment.name):
        yield "the deployment does not wait for every integration"
    stage = one(graph, "apigateway/stage:Stage", "payment-api-stage")
    if stage["stageName"] != graph.suffix.partition("-")[0] or not stage["xrayTracingEnabled"]:
        yield "the stage is not named for its environment, or not traced"


def the_load_balancer_reaches_functions_and_says_what_it_did(graph: Graph) -> Iterator[str]:
    for attachment in of(graph, "lb/targetGroupAttachment:TargetGroupAttachment"):
        permission = attachment.name.replace("-function", "-permission")
        if permission not in needs(graph, attachment.name):
            yield f"{attachment.name} does not wait for the permission"
    for target in of(graph, "lb/targetGroup:TargetGroup"):
        check = target.properties.get("healthCheck", {})
        if target.properties["targetType"] != "lambda" or check.get("path") != "/health":
            yield f"{target.name} is no function with a health check"
    balancer = one(graph, "lb/loadBalancer:LoadBalancer", "payment-alb")
    if not balancer.get("accessLogs", {}).get("enabled"):
        yield "requests are not logged"
    if references(balancer["subnets"]) != {f"payment-public-subnet-{n}" for n in (1, 2, 3)}:
        yield "it is not in the public subnets"
    guarded = of(graph, "wafv2/webAclAssociation:WebAclAssociation")
    what = {n for g in guarded for n in references(g.properties["resourceArn"])}
    if what != {"payment-alb", "payment-api-stage"}:
        yield f"the firewall stands before {sorted(what)}"
    secure = [r for r in of(graph, "lb/listener:Listener") if r.properties["protocol"] == "HTTPS"]
    for listener in of(graph, "lb/listener:Listener"):
        action = listener.properties["defaultActions"][0]["type"]
        if secure and listener not in secure and action != "redirect":
            yield f"{listener.name} answers without TLS"


def lambda_may_do_its_part_for_every_function(graph: Graph) -> Iterator[str]:
    for function in of(graph, "lambda/function:Function"):
        policy = one(graph, "iam/rolePolicy:RolePolicy", f"{function.name}-policy")["policy"]
        allowed = {action for s in json.loads(policy)["Statement"] for action in s["Action"]}
        if missing := LAMBDA_ACTIONS - allowed:
            yield f"{function.name} lacks {sorted(missing)}"


def what_must_be_watched_is(graph: Graph) -> Iterator[str]:
    names = alarm_names(graph)
    wanted = {"payment-db-cpu", "api-4xx", "api-5xx", "payment-validator-errors"}
    wanted |= {"payment-ledger-imbalance", "payment-audit-break", "payment-outbox-age"}
    wanted |= {"payment-decline-rate", "payment-dead-letters", "payment-messages-failed"}
    yield from (f"there is no alarm {name}" for name in sorted(wanted - names))


PROMISES = (
    every_log_group_is_written_to_kept_and_encrypted,
    a_function_has_its_own_role_limit_network_and_tracing,
    connections_fit_into_the_database,
    the_service_is_told_all_it_needs,
    new_code_takes_requests_only_after_the_migration,
    the_api_asks_for_a_key_that_is_limited,
    the_api_enforces_its_model_and_publishes_its_changes,
    the_load_balancer_reaches_functions_and_says_what_it_did,
    lambda_may_do_its_part_for_every_function,
    what_must_be_watched_is,
)
