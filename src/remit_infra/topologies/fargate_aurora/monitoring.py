"""What fargate-aurora monitors: its resources in the alarm table's scopes, and its dashboard."""

from remit_infra.model.alarm import NAMESPACE, Scopes
from remit_infra.model.alarms import resource_alarms
from remit_infra.model.environments import Names
from remit_infra.model.monitoring import PAYMENT_METRICS, GraphLine, Graphs, service_scopes

SERVICES = ("payment-service", "payment-worker")
ROLLBACK_ALARMS = {"payment-service": ("payment-alb-5xx", "payment-tg-unhealthy")}
"""The alarms that roll a service's deployment back, besides its own of processor and memory."""


def scopes_of(names: Names) -> Scopes:
    cluster = names("cluster", "payment-cluster")
    balancer = {"LoadBalancer": "<load balancer>"}
    database = {"DBClusterIdentifier": names("database", "payment-db")}
    queue = {"payment-queue": {"QueueName": names("queue", "payment-queue")}}
    cache = names("cache", "payment-cache")
    return {
        **service_scopes(names),
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
    }


def rollback_alarms(names: Names, service: str) -> list[str]:
    """The alarms that roll a deployment of the service back."""
    scope = {"ecs service": {service: scopes_of(names)["ecs service"][service]}}
    own = [resource.name for resource in resource_alarms(scope) if not resource.alarm.below]
    return [names("alarm", name) for name in (*own, *ROLLBACK_ALARMS.get(service, ()))]


def graphs_of(scopes: Scopes) -> Graphs:
    """Traffic, latency, errors, payments, tasks, the database, the cache, and waiting work."""
    balancer = scopes["load balancer"]["payment-alb"]
    database, service = scopes["database"]["payment-db"], scopes["service"]["payment"]
    services = scopes["ecs service"].values()
    queue, dead_letters = scopes["queue"]["payment-queue"], scopes["dead letters"]["payment-dlq"]
    cache = scopes["cache"]["payment-cache"]
    alb, rds, ecs, sqs = "AWS/ApplicationELB", "AWS/RDS", "AWS/ECS", "AWS/SQS"
    depth = "ApproximateNumberOfMessagesVisible"
    return {
        "Requests": [GraphLine(alb, "RequestCount", balancer)],
        "Latency": [
            GraphLine(alb, "TargetResponseTime", balancer, percentile)
            for percentile in ("p50", "p95", "p99")
        ],
        "Refused and failed": [
            GraphLine(alb, f"HTTPCode_{kind}_Count", balancer)
            for kind in ("Target_4XX", "Target_5XX", "ELB_5XX")
        ],
        "Payments": [GraphLine(NAMESPACE, metric, service) for metric in PAYMENT_METRICS],
        "Tasks: processor and memory": [
            GraphLine(ecs, metric, each, "Average")
            for each in services
            for metric in ("CPUUtilization", "MemoryUtilization")
        ],
        "Tasks: how many": [
            GraphLine("ECS/ContainerInsights", "RunningTaskCount", each, "Average")
            for each in services
        ],
        "Database: capacity units": [
            GraphLine(rds, "ServerlessDatabaseCapacity", database, "Average")
        ],
        "Database: connections": [GraphLine(rds, "DatabaseConnections", database, "Maximum")],
        "Cache": [
            GraphLine("AWS/ElastiCache", metric, cache, "Average")
            for metric in ("EngineCPUUtilization", "DatabaseMemoryUsagePercentage")
        ],
        "Waiting": [
            GraphLine(sqs, depth, queue, "Maximum"),
            GraphLine(sqs, depth, dead_letters, "Maximum"),
            GraphLine(NAMESPACE, "OutboxAge", service, "Maximum"),
        ],
    }
