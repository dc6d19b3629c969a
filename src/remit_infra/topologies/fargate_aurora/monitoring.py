"""What there is to watch: the resources of each scope of the alarm table, and the dashboard."""

from collections.abc import Mapping

from remit_infra.components.monitoring import Lines
from remit_infra.model.alarm import NAMESPACE
from remit_infra.model.alarms import resource_alarms
from remit_infra.model.environments import Names

SERVICES = ("payment-service", "payment-worker")
ROLLING_BACK = {"payment-service": ("payment-alb-5xx", "payment-tg-unhealthy")}
"""Which alarms take a deployment of a service back, besides its own of processor and memory."""


def scopes_of(names: Names) -> dict[str, dict[str, dict[str, str]]]:
    """What there is to watch, by scope and name, with the dimensions of its metrics. `<words>` are
    known when the resources are.
    """
    cluster = names("cluster", "payment-cluster")
    balancer = {"LoadBalancer": "<load balancer>"}
    database = {"DBClusterIdentifier": names("database", "payment-db")}
    queue = {"payment-queue": {"QueueName": names("queue", "payment-queue")}}
    cache = names("cache", "payment-cache")
    return {
        "load balancer": {"payment-alb": balancer},
        "target group": {"payment-tg": {**balancer, "TargetGroup": "<target>"}},
        "ecs service": {
            service: {"ClusterName": cluster, "ServiceName": names("service", service)}
            for service in SERVICES
        },
        "database": {"payment-db": database},
        "serverless database": {"payment-db": database},
        "cache": {"payment-cache": {"CacheClusterId": f"{cache}-001"}},
        "payment queue": queue,
        "queue": queue,
        "dead letters": {"payment-dlq": {"QueueName": names("queue", "payment-dlq")}},
        "topic": {
            topic: {"TopicName": names("topic", topic)}
            for topic in ("payment-alarms", "payment-notifications")
        },
        "service": {"payment": {"service": f"payment-{names.suffix}"}},
    }


def alarms_of(names: Names, service: str) -> list[str]:
    """The alarms during a deployment of a service that take it back."""
    own = {"ecs service": scopes_of(names)["ecs service"][service]}
    of_service = [
        one.name
        for one in resource_alarms({"ecs service": {service: own["ecs service"]}})
        if not one.alarm.below
    ]
    return [names("alarm", name) for name in (*of_service, *ROLLING_BACK.get(service, ()))]


def graphs_of(scopes: Mapping[str, Mapping[str, Mapping[str, str]]]) -> dict[str, Lines]:
    """Traffic, latency, errors, tasks, the database, the work, and what the business sees."""
    balancer = scopes["load balancer"]["payment-alb"]
    database, service = scopes["database"]["payment-db"], scopes["service"]["payment"]
    tasks = scopes["ecs service"].values()
    queue, dead = scopes["queue"]["payment-queue"], scopes["dead letters"]["payment-dlq"]
    cache = scopes["cache"]["payment-cache"]
    alb, rds, ecs, sqs = "AWS/ApplicationELB", "AWS/RDS", "AWS/ECS", "AWS/SQS"
    return {
        "Requests": [(alb, "RequestCount", balancer, "Sum")],
        "Latency": [
            (alb, "TargetResponseTime", balancer, percentile)
            for percentile in ("p50", "p95", "p99")
        ],
        "Refused and failed": [
            (alb, f"HTTPCode_{whose}_Count", balancer, "Sum")
            for whose in ("Target_4XX", "Target_5XX", "ELB_5XX")
        ],
        "Payments": [
            (NAMESPACE, f"payment.{what}", service, "Sum")
            for what in ("validated", "captured", "declined")
        ],
        "Tasks: processor and memory": [
            (ecs, metric, one, "Average")
            for one in tasks
            for metric in ("CPUUtilization", "MemoryUtilization")
        ],
        "Tasks: how many": [
            ("ECS/ContainerInsights", "RunningTaskCount", one, "Average") for one in tasks
        ],
        "Database: capacity units": [(rds, "ServerlessDatabaseCapacity", database, "Average")],
        "Database: connections": [(rds, "DatabaseConnections", database, "Maximum")],
        "Cache": [
            ("AWS/ElastiCache", metric, cache, "Average")
            for metric in ("EngineCPUUtilization", "DatabaseMemoryUsagePercentage")
        ],
        "Waiting": [
            (sqs, "ApproximateNumberOfMessagesVisible", queue, "Maximum"),
            (sqs, "ApproximateNumberOfMessagesVisible", dead, "Maximum"),
            (NAMESPACE, "OutboxAge", service, "Maximum"),
        ],
    }
