"""The settings with which an operator's commands work on a deployed topology.

The operator's machine cannot reach the database. On lambda-postgres the commands use a function in
its place, on fargate-aurora a task.
"""

from typing import Any

import msgspec

from remit.adapters.aws.ecs import RunTask
from remit.settings import PREFIX
from remit_infra.model.aws_account import Clients, DeployError
from remit_infra.model.environments import Names

NOT_FOR_OPERATORS = tuple(f"{PREFIX}{name}_" for name in ("CACHE", "DATABASE", "IDLE"))
"""Prefixes of the settings that are only for processes within the network."""


def function_settings(client: Clients, full_name: str) -> dict[str, str]:
    """The service's settings among the environment variables of a deployed function."""
    described = client("lambda").get_function_configuration(FunctionName=full_name)
    variables: dict[str, str] = described["Environment"]["Variables"]
    return {name: value for name, value in variables.items() if name.startswith(PREFIX)}


def operator_settings(client: Clients, suffix: str) -> dict[str, str]:
    """The delivery function's settings, with the operators' function in place of the database.

    Raises DeployError where the API has no usage plan.
    """
    names = Names(suffix)
    delivery = function_settings(client, names("function", "payment-delivery"))
    kept = {
        name: value for name, value in delivery.items() if not name.startswith(f"{PREFIX}DATABASE_")
    }
    pages = client("apigateway").get_paginator("get_usage_plans").paginate()
    plans = {plan["name"]: plan["id"] for page in pages for plan in page["items"]}
    plan_name = names("usage plan", "payment-api")
    if plan_name not in plans:
        raise DeployError(f"There is no usage plan {plan_name} in this account and region.")
    return kept | {
        f"{PREFIX}OPERATOR_FUNCTION": names("function", "payment-operator"),
        f"{PREFIX}USAGE_PLAN_ID": plans[plan_name],
    }


def task_settings(client: Clients, suffix: str) -> dict[str, str]:
    """The worker's settings, with a task in place of the database.

    Raises DeployError where the worker's service or the task's definition is not there.
    """
    worker = worker_container(client, suffix)
    kept = {
        variable["name"]: variable["value"]
        for variable in worker["environment"]
        if variable["name"].startswith(PREFIX)
        and not variable["name"].startswith(NOT_FOR_OPERATORS)
    }
    task = run_task_of(client, suffix, "payment-migration-task")
    return kept | {f"{PREFIX}OPERATOR_TASK": msgspec.json.encode(task).decode()}


def run_task_of(client: Clients, suffix: str, family: str) -> RunTask:
    """What ECS needs to run a task of the family's newest definition, in the worker's network.

    Raises DeployError where the worker's service or the definition is not there.
    """
    names = Names(suffix)
    network = _worker_service(client, names)["networkConfiguration"]["awsvpcConfiguration"]
    container = _container(client, names("task", family))
    log = container["logConfiguration"]["options"]
    return RunTask(
        cluster=names("cluster", "payment-cluster"),
        task_definition=names("task", family),
        container=container["name"],
        subnets=tuple(network["subnets"]),
        groups=tuple(network["securityGroups"]),
        log_group=log["awslogs-group"],
        stream_prefix=log["awslogs-stream-prefix"],
    )


def worker_container(client: Clients, suffix: str) -> dict[str, Any]:
    """The container definition of the worker's current tasks. Raises DeployError."""
    return _container(client, _worker_service(client, Names(suffix))["taskDefinition"])


def _worker_service(client: Clients, names: Names) -> dict[str, Any]:
    cluster, service = names("cluster", "payment-cluster"), names("service", "payment-worker")
    services = client("ecs").describe_services(cluster=cluster, services=[service])["services"]
    for described in services:
        if described["status"] == "ACTIVE":
            return dict(described)
    raise DeployError(f"There is no service {service} in this account and region.")


def _container(client: Clients, definition: str) -> dict[str, Any]:
    described = client("ecs").describe_task_definition(taskDefinition=definition)
    [container] = described["taskDefinition"]["containerDefinitions"]
    return dict(container)
