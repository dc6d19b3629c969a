"""Fargate's tasks and services: small, closed, reachable, replaced without a gap."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from remit.settings import read_settings
from remit_infra.graph.graph import Graph, references
from remit_infra.model.environments import environment_of
from remit_infra.model.service_env import AURORA_SETTINGS
from tests.infra.graphs import needs, of, one
from tests.infra.policies.network import ANYWHERE_IPV6, TIERS
from tests.infra.policies.policy import FARGATE, policy

TASKS = {"payment-task", "payment-worker-task", "payment-migration-task"}
SERVICES = {"payment-service": "payment-task", "payment-worker": "payment-worker-task"}


def container_of(definition: Mapping[str, Any]) -> dict[str, Any]:
    [container] = json.loads(definition["containerDefinitions"])
    return dict(container)


def environment_in(container: Mapping[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container["environment"]}


@policy(FARGATE)
def tasks_are_as_small_and_as_closed_as_they_can_be(graph: Graph) -> Iterator[str]:
    definitions = of(graph, "ecs/taskDefinition:TaskDefinition")
    if {definition.name for definition in definitions} != TASKS:
        yield "there are other tasks"
    roles = [frozenset(references(d.properties["taskRoleArn"])) for d in definitions]
    if len(set(roles)) != len(roles):
        yield "tasks share a role"
    images = {container_of(d.properties)["image"] for d in definitions}
    if len(images) != 1:
        yield "tasks run different images"
    for definition in definitions:
        given, container = definition.properties, container_of(definition.properties)
        if (given["cpu"], given["memory"], given["networkMode"]) != ("256", "512", "awsvpc"):
            yield f"{definition.name} has another size"
        if not container["readonlyRootFilesystem"] or container["user"].startswith(("0", "root")):
            yield f"{definition.name} may write its root file system or is root"
        if container["linuxParameters"]["capabilities"] != {"drop": ["ALL"]}:
            yield f"{definition.name} has capabilities"
        log = container["logConfiguration"]["options"]
        if log["awslogs-group"] != f"/ecs/payment-{graph.suffix}":
            yield f"{definition.name} writes to no log of ours"
        if ("healthCheck" in container) is (definition.name == "payment-migration-task"):
            yield f"{definition.name} is not asked whether it lives"
        if "payment-execution-policy" not in needs(graph, definition.name):
            yield f"{definition.name} does not wait until it may be started"


@policy(FARGATE)
def tasks_are_told_everything_but_secrets(graph: Graph) -> Iterator[str]:
    for definition in of(graph, "ecs/taskDefinition:TaskDefinition"):
        told = environment_in(container_of(definition.properties))
        settings = read_settings({n: v for n, v in told.items() if n.startswith("REMIT_")})
        missing = [name for name in AURORA_SETTINGS if getattr(settings, name) is None]
        yield from (f"{definition.name} is not told {name}" for name in missing)
        if any("password" in value.lower() or "secret:" in value for value in told.values()):
            yield f"{definition.name} has a secret in its environment"
        pauses = environment_of(graph.suffix).fargate.pause_after_seconds
        if settings.idle_after_seconds != pauses:
            yield f"{definition.name} does not let the database pause"


@policy(FARGATE)
def tasks_reach_aws_and_nobody_reaches_tasks(graph: Graph) -> Iterator[str]:
    """Image, log and secret are fetched over IPv6: tasks have no other address, because with one
    of IPv4 Fargate would use that, and it leads nowhere.
    """
    yield from _subnets_lead(graph)
    for definition in of(graph, "ecs/taskDefinition:TaskDefinition"):
        container = container_of(definition.properties)
        if ".dkr-ecr." not in container["image"] or ".on.aws/" not in container["image"]:
            yield f"{definition.name} has an image that only IPv4 reaches"
        if environment_in(container).get("AWS_USE_DUALSTACK_ENDPOINT") != "true":
            yield f"{definition.name} asks AWS over IPv4"
    for service in of(graph, "ecs/service:Service"):
        where = service.properties["networkConfiguration"]
        if not _are_of_tasks(where["subnets"]):
            yield f"{service.name} is not in the tasks' subnets"
        if where.get("assignPublicIp"):
            yield f"{service.name} has public addresses"
    target = one(graph, "lb/targetGroup:TargetGroup", "payment-tg")
    balancer = one(graph, "lb/loadBalancer:LoadBalancer", "payment-alb")
    if (target["ipAddressType"], balancer["ipAddressType"]) != ("ipv6", "dualstack"):
        yield "the load balancer does not reach tasks by their addresses"


def _are_of_tasks(subnets: object) -> bool:
    return {name.rpartition("-")[0] for name in references(subnets)} == {"payment-task-subnet"}


def _subnets_lead(graph: Graph) -> Iterator[str]:
    """Problems with where the subnets of each tier lead."""
    kind = "ec2/egressOnlyInternetGateway:EgressOnlyInternetGateway"
    ways_out = {r.name for r in of(graph, kind)}
    ways_in = {r.name for r in of(graph, "ec2/internetGateway:InternetGateway")}
    for subnet in of(graph, "ec2/subnet:Subnet"):
        tier = next(tier for tier in TIERS[FARGATE] if f"-{tier}-" in subnet.name)
        if subnet.properties.get("ipv6Native", False) is not (tier == "task"):
            yield f"{subnet.name} has the wrong kinds of addresses"
        routes = _routes_of(graph, subnet.name)
        if tier == "task":
            open_ways = {r.get("destinationIpv6CidrBlock"): references(r) for r in routes}
            if not ways_out & open_ways.get(ANYWHERE_IPV6, set()):
                yield f"{subnet.name} reaches nothing"
        if tier != "public" and any(ways_in & references(route) for route in routes):
            yield f"{subnet.name} is reached from the internet"
        if tier == "data" and routes:
            yield f"{subnet.name} leads out"


def _routes_of(graph: Graph, subnet: str) -> list[dict[str, Any]]:
    tables = {
        table
        for joined in of(graph, "ec2/routeTableAssociation:RouteTableAssociation")
        if subnet in references(joined.properties["subnetId"])
        for table in references(joined.properties["routeTableId"])
    }
    return [
        route.properties
        for route in of(graph, "ec2/route:Route")
        if references(route.properties["routeTableId"]) & tables
    ]


@policy(FARGATE)
def services_heal_and_roll_back(graph: Graph) -> Iterator[str]:
    size = environment_of(graph.suffix).fargate
    least = {"payment-service": size.api_tasks[0], "payment-worker": size.worker_tasks[0]}
    cluster = one(graph, "ecs/cluster:Cluster", "payment-cluster")
    if cluster["settings"] != [{"name": "containerInsights", "value": "enhanced"}]:
        yield "the cluster has no Container Insights"
    for name, family in SERVICES.items():
        given = one(graph, "ecs/service:Service", name)
        if given.get("deploymentCircuitBreaker") != {"enable": True, "rollback": True}:
            yield f"{name} does not roll back"
        if not given.get("alarms", {}).get("alarmNames") or not given["alarms"]["rollback"]:
            yield f"{name} does not roll back on an alarm"
        if (given["deploymentMinimumHealthyPercent"], given["desiredCount"]) != (100, least[name]):
            yield f"{name} may have fewer tasks than it needs"
        if references(given["taskDefinition"]) != {family}:
            yield f"{name} runs another task"
        if "payment-migration-run" not in needs(graph, name):
            yield f"{name} is updated before the database"
        if f"{name}-cpu-alarm" not in needs(graph, name):
            yield f"{name} does not wait for the alarms that take it back"
        behind = {r.name for r in graph.resources if name in needs(graph, r.name)}
        if any(service in behind for service in SERVICES):
            yield f"{name} is waited for by a service"


@policy(FARGATE)
def services_are_scaled(graph: Graph) -> Iterator[str]:
    size = environment_of(graph.suffix).fargate
    for name, limits in (
        ("payment-service", size.api_tasks),
        ("payment-worker", size.worker_tasks),
    ):
        scaled = one(graph, "appautoscaling/target:Target", f"{name}-tasks")
        if (scaled.get("minCapacity"), scaled.get("maxCapacity")) != limits:
            yield f"{name} is scaled between other limits"
    policies = of(graph, "appautoscaling/policy:Policy")
    for found in policies:
        tracking = found.properties["targetTrackingScalingPolicyConfiguration"]
        if (tracking["scaleOutCooldown"], tracking["scaleInCooldown"]) != (60, 300):
            yield f"{found.name} has other cooldowns"
    wanted = {"service-by-cpu", "service-by-requests", "worker-by-cpu", "worker-by-queue"}
    if {found.name for found in policies} != {f"payment-{name}" for name in wanted}:
        yield f"services are scaled by {sorted(found.name for found in policies)}"


@policy(FARGATE)
def the_migration_runs_when_its_task_is_new(graph: Graph) -> Iterator[str]:
    own = [r for r in graph.resources if r.type.startswith("pulumi-python:dynamic")]
    asked = own[0].properties if own else {}
    if references(asked.get("task_definition", "")) != {"payment-migration-task"}:
        yield "the migration is not of the new image"
    if not _are_of_tasks(asked.get("subnets", [])):
        yield "the migration runs elsewhere"
    if "payment-db-writer" not in needs(graph, "payment-migration-run"):
        yield "the migration does not wait for the database"


@policy(FARGATE)
def images_are_scanned_and_never_replaced(graph: Graph) -> Iterator[str]:
    given = one(graph, "ecr/repository:Repository", "payment-service-repository")
    if given.get("imageTagMutability") != "IMMUTABLE":
        yield "a tag may come to mean another image"
    if not given.get("imageScanningConfiguration", {}).get("scanOnPush"):
        yield "images are not scanned"
    if references(given.get("encryptionConfigurations", [])) != {"payment-data-key"}:
        yield "images are not encrypted with the customer's key"
