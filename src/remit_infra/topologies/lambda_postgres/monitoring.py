"""What there is to watch: the resources of each scope of the alarm table, and the dashboard."""

from collections.abc import Mapping

from remit_infra.components.monitoring import Lines
from remit_infra.model.alarm import NAMESPACE, ResourceAlarm
from remit_infra.model.environments import Names
from remit_infra.topologies.lambda_postgres.configuration import (
    MODULES,
    REQUEST_SECONDS,
    ZONES,
)


def scopes_of(names: Names) -> dict[str, dict[str, dict[str, str]]]:
    """What there is to watch, by scope and name, with the dimensions of its metrics. `<words>` are
    known when the resources are.
    """
    functions = {name: {"FunctionName": names("function", name)} for name in MODULES}
    requests = [name for name, (_, seconds) in MODULES.items() if seconds == REQUEST_SECONDS]
    balancer = {"LoadBalancer": "<load balancer>"}
    api = {"ApiName": names("api", "payment-api"), "Stage": names.environment.name}
    return {
        "api": {"api": api},
        "load balancer": {"alb": balancer},
        "target group": {
            f"alb-{module}": {**balancer, "TargetGroup": f"<target {module}>"}
            for module in ("validation", "processing", "health")
        },
        "function": functions,
        "request function": {name: functions[name] for name in requests},
        "monitor": {"health-monitor": functions["health-monitor"]},
        "database": {
            "payment-db": {"DBInstanceIdentifier": names("database", "payment-db")},
        },
        "instance": {
            "payment-db": {"DBInstanceIdentifier": names("database", "payment-db")},
        },
        "nat gateway": {
            f"nat-{number}": {"NatGatewayId": f"<nat {number}>"} for number in range(1, ZONES + 1)
        },
        "topic": {
            topic: {"TopicName": names("topic", topic)}
            for topic in ("payment-alarms", "payment-notifications")
        },
        "work table": {"payment": {"service": f"payment-{names.suffix}"}},
        "service": {"payment": {"service": f"payment-{names.suffix}"}},
    }


def alarms_of(names: Names, alarms: tuple[ResourceAlarm, ...], function: str) -> list[str]:
    """The alarms of one function, which stop its release."""
    full_name = names("function", function)
    return [
        names("alarm", one.name)
        for one in alarms
        if one.dimensions.get("FunctionName") == full_name and not one.alarm.below
    ]


def graphs_of(scopes: Mapping[str, Mapping[str, Mapping[str, str]]]) -> dict[str, Lines]:
    """Traffic, latency, errors, the database, the work, and what the business sees."""
    api, balancer = scopes["api"]["api"], scopes["load balancer"]["alb"]
    database, service = scopes["database"]["payment-db"], scopes["service"]["payment"]
    functions = scopes["function"].values()
    gateway, alb, rds = "AWS/ApiGateway", "AWS/ApplicationELB", "AWS/RDS"
    percentiles = ("p50", "p95", "p99")
    return {
        "Requests": [
            (gateway, "Count", api, "Sum"),
            (alb, "RequestCount", balancer, "Sum"),
        ],
        "Latency": [
            *((gateway, "Latency", api, percentile) for percentile in percentiles),
            *((alb, "TargetResponseTime", balancer, percentile) for percentile in percentiles),
        ],
        "Refused and failed": [
            (gateway, "4XXError", api, "Sum"),
            (gateway, "5XXError", api, "Sum"),
            (alb, "HTTPCode_Target_5XX_Count", balancer, "Sum"),
        ],
        "Payments": [
            (NAMESPACE, f"payment.{what}", service, "Sum")
            for what in ("validated", "captured", "declined")
        ],
        "Database: processor": [(rds, "CPUUtilization", database, "Average")],
        "Database: connections": [(rds, "DatabaseConnections", database, "Maximum")],
        "Function errors": [("AWS/Lambda", "Errors", one, "Sum") for one in functions],
        "Waiting": [
            (NAMESPACE, "OutboxAge", service, "Maximum"),
            (NAMESPACE, "DeadLetters", service, "Maximum"),
        ],
    }
