"""Assembles the service on an operator's machine, which cannot reach a private database.

A function or a task in the database's network runs the jobs on API keys, failed work and
operations. The audit trail is read from its bucket. Every other database port raises Unavailable.
"""

from dataclasses import replace
from typing import Any

import msgspec

from remit.adapters.aws.client import LazyClient
from remit.adapters.aws.ecs import RunTask
from remit.adapters.aws.operator_client import (
    OperatorApiKeys,
    OperatorClient,
    OperatorFailedQueue,
    OperatorFunction,
    OperatorTask,
    UnreachablePort,
    UnreachableProcessor,
)
from remit.assembly.aws import cloud_services, in_usage_plan, sqs_queue
from remit.assembly.parts import DatabaseAdapters, build, close_nothing, this_process
from remit.ports.api_keys import ApiKeys
from remit.ports.app import App
from remit.settings import Settings, SettingsError


def assemble_for_operator(settings: Settings) -> App:
    """The service through the operator function, or through a task. Raises SettingsError."""
    operator = operator_client(settings)
    if settings.operator_function is not None:
        keys = in_usage_plan(OperatorApiKeys(operator), settings)
        return _assemble(settings, keys, OperatorFailedQueue(operator))
    return _assemble(settings, OperatorApiKeys(operator), sqs_queue(settings))


def operator_client(settings: Settings) -> OperatorClient:
    """What runs an operator's jobs in the database's network. Raises SettingsError."""
    if settings.operator_function is not None:
        return OperatorFunction(LazyClient("lambda"), settings.operator_function)
    try:
        task = msgspec.json.decode(settings.require("operator_task"), type=RunTask)
    except msgspec.DecodeError as error:
        raise SettingsError(f"REMIT_OPERATOR_TASK: {error}.") from error
    return OperatorTask(LazyClient("ecs"), LazyClient("logs"), task)


def _assemble(settings: Settings, api_keys: ApiKeys, queue: Any) -> App:
    unreachable: Any = UnreachablePort()
    database = DatabaseAdapters(
        store=unreachable,
        books=unreachable,
        api_keys=api_keys,
        outbox=unreachable,
        health_states=unreachable,
        close=close_nothing,
    )
    processor: Any = UnreachableProcessor()
    app = build(this_process(settings), database, cloud_services(settings), queue, processor)
    # Workers handle the messages of the queue. An operator's machine must not receive them.
    return replace(app, delivery=replace(app.delivery, queue=unreachable))
