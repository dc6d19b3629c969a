"""The settings with which an operator's commands work on a deployment whose database is out of
reach: on lambda-postgres through a function, on fargate-aurora through a task.
"""

from typing import Any

import msgspec

from remit.adapters.aws.ecs import RunTask
from remit.settings import PREFIX
from remit_infra.model.aws_account import Clients, DeployError
from remit_infra.model.environments import Names

NOT_FOR_OPERATORS = tuple(f"{PREFIX}{name}_" for name in ("CACHE", "DATABASE", "QUIET"))
"""Beginnings of what is said to tasks of things that only they can reach."""


def function_settings(client: Clients, name: str) -> dict[str, str]:
    """The service's settings as a deployed function has them."""
    found = client("lambda").get_function_configuration(FunctionName=name)
    variables: dict[str, str] = found["Environment"]["Variables"]
    return {name: value for name, value in variables.items() if name.startswith(PREFIX)}


def operator_settings(client: Clients, suffix: str) -> dict[str, str]:
    """Those of the deliverer, with the function that asks for operators in the place of the
    database. Raises DeployError where the API has no usage plan.
    """
    names = Names(suffix)
    kept = {
        name: value
        for name, value in function_settings(client, names("function", "payment-delivery")).items()
        if not name.startswith(f"{PREFIX}DATABASE_")
    }
    pages = client("apigateway").get_paginator("get_usage_plans").paginate()
    plans = {plan["name"]: plan["id"] for page in pages for plan in page["items"]}
    name = names("usage plan", "payment-api")
    if name not in plans:
        raise DeployError(f"There is no usage plan {name} in this account and region.")
    return kept | {
        f"{PREFIX}OPERATOR_FUNCTION": names("function", "payment-operator"),
        f"{PREFIX}USAGE_PLAN_ID": plans[name],
    }


def task_settings(client: Clients, suffix: str) -> dict[str, str]:
    """Those of the worker, with the task that is asked for operators in the place of the database.
    Raises DeployError where there is none.
    """
    worker = running(client, suffix)
    kept = {
        one["name"]: one["value"]
        for one in worker["environment"]
        if one["name"].startswith(PREFIX) and not one["name"].startswith(NOT_FOR_OPERATORS)
    }
    where = one_off(client, suffix, "payment-migration-task")
    return kept | {f"{PREFIX}OPERATOR_TASK": msgspec.json.encode(where).decode()}


def one_off(client: Clients, suffix: str, family: str) -> RunTask:
    """The newest definition of the family, to be run where the worker's tasks are. Raises
    DeployError where there is none.
    """
    names = Names(suffix)
    network = _service(client, names)["networkConfiguration"]["awsvpcConfiguration"]
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


def running(client: Clients, suffix: str) -> dict[str, Any]:
    """The container of the worker's tasks that run now. Raises DeployError where none do."""
    return _container(client, _service(client, Names(suffix))["taskDefinition"])


def _service(client: Clients, names: Names) -> dict[str, Any]:
    cluster, service = names("cluster", "payment-cluster"), names("service", "payment-worker")
    found = client("ecs").describe_services(cluster=cluster, services=[service])["services"]
    for one in found:
        if one["status"] == "ACTIVE":
            return dict(one)
    raise DeployError(f"There is no service {service} in this account and region.")


def _container(client: Clients, definition: str) -> dict[str, Any]:
    found = client("ecs").describe_task_definition(taskDefinition=definition)
    [container] = found["taskDefinition"]["containerDefinitions"]
    return dict(container)
