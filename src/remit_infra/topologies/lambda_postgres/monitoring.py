"""What lambda-postgres monitors: its resources in the alarm table's scopes, and its dashboard."""

from remit_infra.model.alarm import NAMESPACE, Dimensions, ResourceAlarm, Scopes
from remit_infra.model.environments import Names
from remit_infra.model.monitoring import (
    PAYMENT_METRICS,
    GraphLine,
    Graphs,
    function_scopes,
    service_scopes,
)
from remit_infra.topologies.lambda_postgres.configuration import FUNCTIONS, ZONES

PERCENTILES = ("p50", "p95", "p99")


def scopes_of(names: Names) -> Scopes:
    balancer = {"LoadBalancer": "<load balancer>"}
    database: dict[str, Dimensions] = {
        "payment-db": {"DBInstanceIdentifier": names("database", "payment-db")}
    }
    return {
        **function_scopes(names, FUNCTIONS),
        **service_scopes(names),
        "load balancer": {"alb": balancer},
        "target group": {
            f"alb-{module}": {**balancer, "TargetGroup": f"<target {module}>"}
            for module in ("validation", "processing", "health")
        },
        "database": database,
        "instance": database,
        "nat gateway": {
            f"nat-{number}": {"NatGatewayId": f"<nat {number}>"} for number in range(1, ZONES + 1)
        },
        "work table": service_scopes(names)["service"],
    }


def rollback_alarms(names: Names, alarms: tuple[ResourceAlarm, ...], function: str) -> list[str]:
    """The alarms of a function that roll its deployment back."""
    full_name = names("function", function)
    return [
        names("alarm", resource.name)
        for resource in alarms
        if resource.dimensions.get("FunctionName") == full_name and not resource.alarm.below
    ]


def graphs_of(scopes: Scopes) -> Graphs:
    """Traffic, latency, errors, payments, the database, and waiting work."""
    api, balancer = scopes["api"]["api"], scopes["load balancer"]["alb"]
    database, service = scopes["database"]["payment-db"], scopes["service"]["payment"]
    gateway, alb, rds = "AWS/ApiGateway", "AWS/ApplicationELB", "AWS/RDS"
    return {
        "Requests": [
            GraphLine(gateway, "Count", api),
            GraphLine(alb, "RequestCount", balancer),
        ],
        "Latency": [
            *(GraphLine(gateway, "Latency", api, percentile) for percentile in PERCENTILES),
            *(
                GraphLine(alb, "TargetResponseTime", balancer, percentile)
                for percentile in PERCENTILES
            ),
        ],
        "Refused and failed": [
            GraphLine(gateway, "4XXError", api),
            GraphLine(gateway, "5XXError", api),
            GraphLine(alb, "HTTPCode_Target_5XX_Count", balancer),
        ],
        "Payments": [GraphLine(NAMESPACE, metric, service) for metric in PAYMENT_METRICS],
        "Database: processor": [GraphLine(rds, "CPUUtilization", database, "Average")],
        "Database: connections": [GraphLine(rds, "DatabaseConnections", database, "Maximum")],
        "Function errors": [
            GraphLine("AWS/Lambda", "Errors", function) for function in scopes["function"].values()
        ],
        "Waiting": [
            GraphLine(NAMESPACE, "OutboxAge", service, "Maximum"),
            GraphLine(NAMESPACE, "DeadLetters", service, "Maximum"),
        ],
    }
