"""Lambda functions: each by itself, with all it needs, and replaced without a gap."""

from collections.abc import Iterator

from remit.settings import read_settings
from remit_infra.graph.graph import Graph, references
from remit_infra.model.alarms import ALARMS
from remit_infra.model.service_env import DYNAMODB_SETTINGS, RDS_SETTINGS
from tests.infra.graphs import needs, of, one
from tests.infra.policies.keys_and_roles import data_key
from tests.infra.policies.policy import DYNAMODB, LAMBDA, POSTGRES, policy

GATEWAY_SECONDS = 29
"""How long API Gateway waits for a function."""

LARGEST = {POSTGRES: 40, DYNAMODB: 200}
"""How many of a function may run at once, at most."""

REQUEST_FUNCTIONS = ("validation", "processing", "health")
"""The modules of the functions that API Gateway waits for."""


def log_group_of(graph: Graph, given: str) -> str:
    """The name of a log group, by its name or by a reference to it; empty if it is not ours."""
    groups = {r.name: str(r.properties["name"]) for r in of(graph, "cloudwatch/logGroup:LogGroup")}
    for name in references(given):
        return groups.get(name, "")
    return given if given in groups.values() else ""


@policy(*LAMBDA)
def each_function_has_its_own_role_log_group_trace_and_limit(graph: Graph) -> Iterator[str]:
    functions = of(graph, "lambda/function:Function")
    roles = [frozenset(references(function.properties["role"])) for function in functions]
    if len(set(roles)) != len(functions):
        yield "functions share a role"
    for function in functions:
        name, given = function.name, function.properties
        group = log_group_of(graph, given.get("loggingConfig", {}).get("logGroup", ""))
        if group != f"/aws/lambda/{given['name']}":
            yield f"{name} writes to no log group of its own"
        if given.get("tracingConfig") != {"mode": "Active"}:
            yield f"{name} is not traced"
        if not 0 < given.get("reservedConcurrentExecutions", 0) <= LARGEST[graph.topology]:
            yield f"{name} has no limit"
        module = given["handler"].split(".")[-2]
        if module in REQUEST_FUNCTIONS and given["timeout"] >= GATEWAY_SECONDS:
            yield f"{name} may take longer than API Gateway waits"
        if references(given.get("kmsKeyArn", "")) != data_key(graph):
            yield f"{name} has an environment that is not encrypted"


@policy(*LAMBDA)
def a_function_waits_for_its_policy_and_log_group(graph: Graph) -> Iterator[str]:
    groups = {
        str(group.properties["name"]): group.name
        for group in of(graph, "cloudwatch/logGroup:LogGroup")
    }
    for function in of(graph, "lambda/function:Function"):
        [role] = references(function.properties["role"])
        policies = {
            found.name
            for found in of(graph, "iam/rolePolicy:RolePolicy")
            if role in references(found.properties["role"]) | set(found.depends_on)
        }
        group = groups.get(f"/aws/lambda/{function.properties['name']}", "")
        if not policies or not policies | {group} <= needs(graph, function.name):
            yield f"{function.name} does not wait for its policy and log group"


@policy(POSTGRES)
def functions_are_in_the_private_network(graph: Graph) -> Iterator[str]:
    for function in of(graph, "lambda/function:Function"):
        where = references(function.properties.get("vpcConfig", {}))
        subnets = {name for name in where if "subnet" in name}
        if subnets != {f"payment-private-subnet-{number}" for number in (1, 2, 3)}:
            yield f"{function.name} is not in the private subnets"


@policy(*LAMBDA)
def functions_are_told_everything_but_secrets(graph: Graph) -> Iterator[str]:
    wanted = DYNAMODB_SETTINGS if graph.topology == DYNAMODB else RDS_SETTINGS
    for function in of(graph, "lambda/function:Function"):
        variables = function.properties["environment"]["variables"]
        texts = {
            name: value if isinstance(value, str) else "set" for name, value in variables.items()
        }
        settings = read_settings({n: v for n, v in texts.items() if n.startswith("REMIT_")})
        missing = [name for name in wanted if getattr(settings, name) is None]
        yield from (f"{function.name} is not told {name}" for name in missing)
        if any("password" in value.lower() for value in texts.values()):
            yield f"{function.name} has a password in its environment"
        if "health" in function.properties["handler"] and settings.monitored_metrics is None:
            yield f"{function.name} watches nothing"


@policy(DYNAMODB)
def a_batch_fails_message_by_message(graph: Graph) -> Iterator[str]:
    for source in of(graph, "lambda/eventSourceMapping:EventSourceMapping"):
        if source.properties.get("functionResponseTypes") != ["ReportBatchItemFailures"]:
            yield f"{source.name} takes a batch as a whole"


@policy(POSTGRES)
def connections_fit_into_the_database(graph: Graph) -> Iterator[str]:
    limits = [
        function.properties["reservedConcurrentExecutions"]
        for function in of(graph, "lambda/function:Function")
    ]
    # A container holds one connection, the deliverer one more when it proves the books.
    [alarm] = [a for a in ALARMS if (a.name, a.scope) == ("{}-connections", "database")]
    if sum(limits) + 2 > alarm.threshold:
        yield f"{sum(limits)} containers want more connections than the alarm allows"


@policy(POSTGRES)
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
