"""Alarms, logs and the dashboard: what must be seen is, by whoever has to know."""

import json
from collections.abc import Iterator

from remit_infra.graph.graph import Graph, references
from remit_infra.model.alarms import ALARMS
from remit_infra.model.environments import environment_of
from tests.infra.graphs import of, one
from tests.infra.policies.database import database_of
from tests.infra.policies.keys_and_roles import data_key
from tests.infra.policies.policy import DYNAMODB, EVERY, FARGATE, POSTGRES, PULUMI, policy
from tests.infra.policies.tasks import SERVICES
from tests.tidy.tree import ROOT

SCOPES = frozenset(
    {
        *("api", "function", "request function", "monitor", "stream function", "table", "queue"),
        *("dead letters", "topic", "service"),
    }
)
"""Those of the alarm table's scopes that lambda-dynamodb has something of."""

WATCHED = {
    POSTGRES: {
        *("payment-db-cpu", "api-4xx", "api-5xx", "payment-validator-errors"),
        *("payment-dead-letters",),
    },
    FARGATE: {
        *("payment-tg-unhealthy", "payment-alb-latency", "payment-alb-5xx"),
        *(f"{service}-{what}" for service in SERVICES for what in ("cpu", "memory", "tasks")),
        *("payment-db-cpu", "payment-db-connections", "payment-cache-cpu"),
        *("payment-queue-depth", "payment-queue-age", "payment-dlq-not-empty"),
    },
}
"""By topology, the alarms that there must be besides those of the service itself."""

OF_THE_SERVICE = {
    *("payment-ledger-imbalance", "payment-audit-break", "payment-outbox-age"),
    *("payment-decline-rate", "payment-messages-failed"),
}
THRESHOLDS = {
    "payment-alb-latency": 1,
    "payment-service-cpu": 80,
    "payment-service-memory": 80,
    "payment-db-cpu": 80,
    "payment-db-connections": 100,
    "payment-cache-cpu": 75,
    "payment-queue-depth": 100,
}
"""Of fargate-aurora's alarms."""

SHOWN = (
    ("RequestCount", "Sum"),
    ("TargetResponseTime", "p95"),
    ("HTTPCode_Target_5XX_Count", "Sum"),
    ("DatabaseConnections", "Maximum"),
    ("OutboxAge", "Maximum"),
    ("payment_intent.succeeded", "Sum"),
    ("payment_intent.payment_failed", "Sum"),
)
"""Of traffic, latency, errors, the database, what waits, and the business."""


@policy(*EVERY)
def every_alarm_tells_both_ways_and_is_in_the_runbook(graph: Graph) -> Iterator[str]:
    runbook = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    topics = [
        topic.name
        for topic in of(graph, "sns/topic:Topic")
        if topic.properties.get("name") == f"payment-alarms-{graph.suffix}"
    ]
    if len(topics) != 1:
        yield "there is no topic for alarms"
    for alarm in of(graph, "cloudwatch/metricAlarm:MetricAlarm"):
        given = alarm.properties
        for actions in ("alarmActions", "okActions"):
            if [sorted(references(one)) for one in given.get(actions, [])] != [topics]:
                yield f"{alarm.name} has no {actions}"
        if not given.get("treatMissingData"):
            yield f"{alarm.name} does not say what missing data means"
        if f"\n## {_entry(given['alarmDescription'])}\n" not in runbook:
            yield f"the runbook has no entry {_entry(given['alarmDescription'])}"


def _entry(description: str) -> str:
    """The runbook's entry that an alarm's description names."""
    return description.rpartition("docs/runbook.md, ")[2].removesuffix(".")


def _names(graph: Graph) -> set[str]:
    """The alarms there are, without the suffix."""
    alarms = of(graph, "cloudwatch/metricAlarm:MetricAlarm")
    return {alarm.properties["name"].removesuffix(f"-{graph.suffix}") for alarm in alarms}


@policy(*EVERY)
def what_must_be_watched_is(graph: Graph) -> Iterator[str]:
    wanted = OF_THE_SERVICE | WATCHED.get(graph.topology, set())
    yield from (f"there is no alarm {name}" for name in sorted(wanted - _names(graph)))
    alarms = of(graph, "cloudwatch/metricAlarm:MetricAlarm")
    if graph.topology == DYNAMODB:
        explained = {_entry(alarm.properties["alarmDescription"]) for alarm in alarms}
        for row in ALARMS:
            if row.scope in SCOPES and row.runbook not in explained:
                yield f"there is no alarm {row.runbook}"
    if graph.topology == FARGATE:
        for name, threshold in THRESHOLDS.items():
            alarm = one(graph, "cloudwatch/metricAlarm:MetricAlarm", f"{name}-alarm")
            if alarm and alarm["threshold"] != threshold:
                yield f"{name} is at {alarm['threshold']}"


@policy(*EVERY)
def every_log_group_is_encrypted_and_kept_for_its_time(graph: Graph) -> Iterator[str]:
    days = environment_of(graph.suffix).log_retention_days
    if graph.topology == POSTGRES:
        days = 30
    for group in of(graph, "cloudwatch/logGroup:LogGroup"):
        if group.properties.get("retentionInDays") != days:
            yield f"{group.name} is not kept for {days} days"
        if references(group.properties.get("kmsKeyId", "")) != data_key(graph):
            yield f"{group.name} is not encrypted"


@policy(DYNAMODB)
def every_log_group_is_written_to(graph: Graph) -> Iterator[str]:
    """The execution log's name is API Gateway's own, which nothing in a program refers to."""
    used = {name for _, name in graph.edges()}
    for group in of(graph, "cloudwatch/logGroup:LogGroup"):
        is_execution = "API-Gateway-Execution-Logs_" in json.dumps(group.properties["name"])
        if group.name not in used and not is_execution:
            yield f"nobody writes to {group.name}"


@policy(*PULUMI)
def every_service_has_its_log_group(graph: Graph) -> Iterator[str]:
    suffix = graph.suffix
    wanted = {f"/aws/vpc/payment-flows-{suffix}"}
    if graph.topology == POSTGRES:
        exports = ["postgresql", "upgrade"]
        wanted |= {f"/aws/rds/instance/payment-db-{suffix}/{log}" for log in exports}
    else:
        exports = ["postgresql"]
        wanted |= {
            f"/ecs/payment-{suffix}",
            f"/aws/ecs/containerinsights/payment-cluster-{suffix}/performance",
            f"/aws/rds/cluster/payment-db-{suffix}/postgresql",
            f"/aws/elasticache/payment-cache-{suffix}/slow-log",
            f"/aws/elasticache/payment-cache-{suffix}/engine-log",
        }
        kind = "elasticache/replicationGroup:ReplicationGroup"
        delivered = one(graph, kind, "payment-cache").get("logDeliveryConfigurations", [])
        if len(delivered) != 2:
            yield "the cache does not deliver its logs"
    groups = {group.properties["name"] for group in of(graph, "cloudwatch/logGroup:LogGroup")}
    yield from (f"there is no log {name}" for name in sorted(wanted - groups))
    if sorted(database_of(graph).get("enabledCloudwatchLogsExports", [])) != exports:
        yield "the database does not export its logs"


@policy(*PULUMI)
def a_dashboard_shows_what_matters(graph: Graph) -> Iterator[str]:
    given = one(graph, "cloudwatch/dashboard:Dashboard", "payment-dashboard")
    widgets = json.loads(given.get("dashboardBody", '{"widgets": []}'))["widgets"]
    lines = [line for widget in widgets for line in widget["properties"]["metrics"]]
    shown = {(line[1], line[-1]["stat"]) for line in lines}
    yield from (
        f"nobody sees {metric} by {statistic}"
        for metric, statistic in SHOWN
        if (metric, statistic) not in shown
    )
