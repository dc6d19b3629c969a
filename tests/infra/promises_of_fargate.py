"""The tasks, what they keep and what watches them: what is promised of them."""

import json
from collections.abc import Iterator
from typing import Any

from remit.settings import read_settings
from remit_infra.graph.graph import Graph, references
from remit_infra.model.environments import environment_of
from remit_infra.model.service_env import AURORA_SETTINGS
from tests.infra.promises_of_all import alarm_names
from tests.infra.promises_of_egress import container_of, environment_in, is_multi_az
from tests.infra.recorded import needs, of, one

TASKS = {"payment-task", "payment-worker-task", "payment-migration-task"}
SERVICES = {"payment-service": "payment-task", "payment-worker": "payment-worker-task"}


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


def the_service_is_told_all_it_needs(graph: Graph) -> Iterator[str]:
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


def tasks_may_open_the_cache_and_send_traces(graph: Graph) -> Iterator[str]:
    for role in ("payment-api", "payment-worker"):
        policy = one(graph, "iam/rolePolicy:RolePolicy", f"{role}-policy").get("policy", "{}")
        allowed = {
            action: references(statement["Resource"])
            for statement in json.loads(policy).get("Statement", ())
            for action in statement["Action"]
        }
        if allowed.get("elasticache:Connect") != {"payment-cache", "payment-cache-user"}:
            yield f"{role} may not open the cache, or others too"
        if "xray:PutTraceSegments" not in allowed:
            yield f"{role} may not send traces"


def services_heal_scale_and_roll_back(graph: Graph) -> Iterator[str]:
    size = environment_of(graph.suffix).fargate
    limits = {"payment-service": size.api_tasks, "payment-worker": size.worker_tasks}
    cluster = one(graph, "ecs/cluster:Cluster", "payment-cluster")
    if cluster["settings"] != [{"name": "containerInsights", "value": "enhanced"}]:
        yield "the cluster has no Container Insights"
    for name, family in SERVICES.items():
        given = one(graph, "ecs/service:Service", name)
        if given.get("deploymentCircuitBreaker") != {"enable": True, "rollback": True}:
            yield f"{name} does not roll back"
        if not given.get("alarms", {}).get("alarmNames") or not given["alarms"]["rollback"]:
            yield f"{name} does not roll back on an alarm"
        if (given["deploymentMinimumHealthyPercent"], given["desiredCount"]) != (
            100,
            limits[name][0],
        ):
            yield f"{name} may have fewer tasks than it needs"
        if references(given["taskDefinition"]) != {family}:
            yield f"{name} runs another task"
        if "payment-migration-run" not in needs(graph, name):
            yield f"{name} is updated before the database"
        if f"{name}-cpu-alarm" not in needs(graph, name):
            yield f"{name} does not wait for the alarms that take it back"
        scaled = one(graph, "appautoscaling/target:Target", f"{name}-tasks")
        if (scaled.get("minCapacity"), scaled.get("maxCapacity")) != limits[name]:
            yield f"{name} is scaled between other limits"
        behind = {r.name for r in graph.resources if name in needs(graph, r.name)}
        if any(service in behind for service in SERVICES):
            yield f"{name} is waited for by a service"
    for policy in of(graph, "appautoscaling/policy:Policy"):
        tracking = policy.properties["targetTrackingScalingPolicyConfiguration"]
        if (tracking["scaleOutCooldown"], tracking["scaleInCooldown"]) != (60, 300):
            yield f"{policy.name} has other cooldowns"
    scaled_by = {p.name for p in of(graph, "appautoscaling/policy:Policy")}
    wanted = {"service-by-cpu", "service-by-requests", "worker-by-cpu", "worker-by-queue"}
    if scaled_by != {f"payment-{name}" for name in wanted}:
        yield f"services are scaled by {sorted(scaled_by)}"


def the_migration_runs_when_its_task_is_new(graph: Graph) -> Iterator[str]:
    asked = _own(graph)
    if references(asked.get("task_definition", "")) != {"payment-migration-task"}:
        yield "the migration is not of the new image"
    if {n.rpartition("-")[0] for n in references(asked.get("subnets", []))} != {
        "payment-task-subnet"
    }:
        yield "the migration runs elsewhere"
    if "payment-db-writer" not in needs(graph, "payment-migration-run"):
        yield "the migration does not wait for the database"


def _own(graph: Graph) -> dict[str, Any]:
    found = [r for r in graph.resources if r.type.startswith("pulumi-python:dynamic")]
    return found[0].properties if found else {}


def the_database_is_private_encrypted_and_backed_up(graph: Graph) -> Iterator[str]:
    given = one(graph, "rds/cluster:Cluster", "payment-db")
    size = environment_of(graph.suffix).fargate
    for name, value in {
        "engine": "aurora-postgresql",
        "databaseName": "payments",
        "networkType": "DUAL",
        "storageEncrypted": True,
        "backupRetentionPeriod": size.backup_days,
        "manageMasterUserPassword": True,
        "skipFinalSnapshot": True,
        "deleteAutomatedBackups": True,
        "deletionProtection": graph.suffix == "prod",
    }.items():
        if given.get(name) != value:
            yield f"{name} is {given.get(name)}"
    if "masterPassword" in given:
        yield "the password is in the program"
    scaling = given.get("serverlessv2ScalingConfiguration", {})
    if (scaling.get("minCapacity"), scaling.get("maxCapacity")) != size.capacity_units:
        yield "it is scaled between other limits"
    if (scaling.get("minCapacity") == 0) is not ("secondsUntilAutoPause" in scaling):
        yield "it pauses where it should not, or does not where it should"
    for name in ("kmsKeyId", "masterUserSecretKmsKeyId"):
        if references(given.get(name, "")) != {"payment-data-key"}:
            yield f"{name} is not the customer's key"
    subnets = one(graph, "rds/subnetGroup:SubnetGroup", "payment-db-subnets")
    if {n.rpartition("-")[0] for n in references(subnets)} != {"payment-data-subnet"}:
        yield "it is not in the subnets for data"
    kind = "rds/clusterParameterGroup:ClusterParameterGroup"
    parameters = one(graph, kind, "payment-db-parameters")
    if {"name": "rds.force_ssl", "value": "1"} not in parameters["parameters"]:
        yield "TLS is not forced"
    instances = of(graph, "rds/clusterInstance:ClusterInstance")
    if len(instances) != 1 + is_multi_az(graph):
        yield f"it has {len(instances)} instances"
    if len({i.properties["availabilityZone"] for i in instances}) != len(instances):
        yield "its instances share a zone"
    for instance in instances:
        given = instance.properties
        if given["publiclyAccessible"] or not given["performanceInsightsEnabled"]:
            yield f"{instance.name} is public or not looked into"


def the_cache_is_closed_and_encrypted(graph: Graph) -> Iterator[str]:
    given = one(graph, "elasticache/replicationGroup:ReplicationGroup", "payment-cache")
    for name, value in {
        "transitEncryptionEnabled": True,
        "transitEncryptionMode": "required",
        "atRestEncryptionEnabled": True,
        "snapshotRetentionLimit": 1,
        "automaticFailoverEnabled": is_multi_az(graph),
        "multiAzEnabled": is_multi_az(graph),
        "numCacheClusters": 1 + is_multi_az(graph),
    }.items():
        if given.get(name) != value:
            yield f"{name} is {given.get(name)}"
    if not str(given.get("engineVersion")).startswith("7"):
        yield "it is not Redis 7"
    if references(given.get("userGroupIds", [])) != {"payment-cache-users"} or "authToken" in given:
        yield "it asks nobody who they are, or knows them by a password"
    if references(given.get("kmsKeyId", "")) != {"payment-data-key"}:
        yield "it is not encrypted with the customer's key"
    for user in of(graph, "elasticache/user:User"):
        access = user.properties["accessString"]
        if "@all" in access and "-@all" not in access:
            yield f"{user.name} may do everything"
        if "passwords" in user.properties:
            yield f"{user.name} has a password in the program"


def failed_work_is_kept(graph: Graph) -> Iterator[str]:
    work = one(graph, "sqs/queue:Queue", "payment-queue")
    dead = one(graph, "sqs/queue:Queue", "payment-dlq")
    if (work["visibilityTimeoutSeconds"], work["messageRetentionSeconds"]) != (300, 345_600):
        yield "the queue hides or keeps messages for another time"
    if dead["messageRetentionSeconds"] != 1_209_600:
        yield "dead letters are not kept for 14 days"
    policy = json.loads(work.get("redrivePolicy", "{}"))
    if policy.get("maxReceiveCount") != 3 or "payment-dlq" not in references(policy):
        yield "work is not given up after three receives"
    for name, queue in (("payment-queue", work), ("payment-dlq", dead)):
        if references(queue.get("kmsMasterKeyId", "")) != {"payment-data-key"}:
            yield f"{name} is not encrypted with the customer's key"
        rules = one(graph, "sqs/queuePolicy:QueuePolicy", f"{name}-policy").get("policy", "")
        if "aws:SecureTransport" not in rules:
            yield f"{name} takes requests without TLS"


def images_are_scanned_and_never_replaced(graph: Graph) -> Iterator[str]:
    given = one(graph, "ecr/repository:Repository", "payment-service-repository")
    if given.get("imageTagMutability") != "IMMUTABLE":
        yield "a tag may come to mean another image"
    if not given.get("imageScanningConfiguration", {}).get("scanOnPush"):
        yield "images are not scanned"
    if not given.get("forceDelete"):
        yield "the repository cannot be destroyed with images in it"
    if references(given.get("encryptionConfigurations", [])) != {"payment-data-key"}:
        yield "images are not encrypted with the customer's key"


def the_load_balancer_lets_requests_finish(graph: Graph) -> Iterator[str]:
    target = one(graph, "lb/targetGroup:TargetGroup", "payment-tg")
    check = target.get("healthCheck", {})
    if (check.get("path"), check.get("interval")) != ("/live", 30):
        yield "tasks are not asked every 30 seconds whether they live"
    if not 15 <= target.get("deregistrationDelay", 0) <= 120:
        yield "requests have no time to finish"
    balancer = one(graph, "lb/loadBalancer:LoadBalancer", "payment-alb")
    if not balancer.get("accessLogs", {}).get("enabled"):
        yield "requests are not logged"
    if {n.rpartition("-")[0] for n in references(balancer["subnets"])} != {"payment-public-subnet"}:
        yield "it is not in the public subnets"
    guarded = of(graph, "wafv2/webAclAssociation:WebAclAssociation")
    if {n for g in guarded for n in references(g.properties["resourceArn"])} != {"payment-alb"}:
        yield "no firewall stands before it"
    listeners = of(graph, "lb/listener:Listener")
    secure = [r for r in listeners if r.properties["protocol"] == "HTTPS"]
    for listener in listeners:
        action = listener.properties["defaultActions"][0]["type"]
        if secure and listener not in secure and action != "redirect":
            yield f"{listener.name} answers without TLS"


def every_log_group_is_kept_for_its_time(graph: Graph) -> Iterator[str]:
    days = {"dev": 7, "staging": 30, "prod": 365}[graph.suffix.partition("-")[0]]
    groups = {r.properties["name"]: r.properties for r in of(graph, "cloudwatch/logGroup:LogGroup")}
    for name, group in groups.items():
        if group.get("retentionInDays") != days:
            yield f"{name} is not kept for {days} days"
        if references(group.get("kmsKeyId", "")) != {"payment-data-key"}:
            yield f"{name} is not encrypted"
    wanted = {
        f"/ecs/payment-{graph.suffix}",
        f"/aws/ecs/containerinsights/payment-cluster-{graph.suffix}/performance",
        f"/aws/rds/cluster/payment-db-{graph.suffix}/postgresql",
        f"/aws/elasticache/payment-cache-{graph.suffix}/slow-log",
        f"/aws/elasticache/payment-cache-{graph.suffix}/engine-log",
        f"/aws/vpc/payment-flows-{graph.suffix}",
    }
    yield from (f"there is no log {name}" for name in sorted(wanted - groups.keys()))
    exported = one(graph, "rds/cluster:Cluster", "payment-db").get("enabledCloudwatchLogsExports")
    if exported != ["postgresql"]:
        yield "the database does not export its log"
    logs = one(graph, "elasticache/replicationGroup:ReplicationGroup", "payment-cache")
    if len(logs.get("logDeliveryConfigurations", [])) != 2:
        yield "the cache does not deliver its logs"


def what_must_be_watched_is(graph: Graph) -> Iterator[str]:
    wanted = {
        *("payment-tg-unhealthy", "payment-alb-latency", "payment-alb-5xx"),
        *(f"{service}-{what}" for service in SERVICES for what in ("cpu", "memory", "tasks")),
        *("payment-db-cpu", "payment-db-connections", "payment-cache-cpu"),
        *("payment-queue-depth", "payment-queue-age", "payment-dlq-not-empty"),
        *("payment-ledger-imbalance", "payment-audit-break", "payment-outbox-age"),
        *("payment-decline-rate", "payment-messages-failed"),
    }
    yield from (f"there is no alarm {name}" for name in sorted(wanted - alarm_names(graph)))
    limits = {"payment-alb-latency": 1, "payment-service-cpu": 80, "payment-service-memory": 80}
    limits |= {"payment-db-cpu": 80, "payment-db-connections": 100}
    limits |= {"payment-cache-cpu": 75, "payment-queue-depth": 100}
    for name, threshold in limits.items():
        alarm = one(graph, "cloudwatch/metricAlarm:MetricAlarm", f"{name}-alarm")
        if alarm and alarm["threshold"] != threshold:
            yield f"{name} is at {alarm['threshold']}"


PROMISES = (
    tasks_are_as_small_and_as_closed_as_they_can_be,
    the_service_is_told_all_it_needs,
    tasks_may_open_the_cache_and_send_traces,
    services_heal_scale_and_roll_back,
    the_migration_runs_when_its_task_is_new,
    the_database_is_private_encrypted_and_backed_up,
    the_cache_is_closed_and_encrypted,
    failed_work_is_kept,
    images_are_scanned_and_never_replaced,
    the_load_balancer_lets_requests_finish,
    every_log_group_is_kept_for_its_time,
    what_must_be_watched_is,
)
