"""An operator's machine, which cannot reach the database: a function or a task in its network does
what is asked. Keys, failed work and the audit trail are there; the database itself is not.
"""

from dataclasses import replace
from typing import Any

import msgspec

from remit.adapters.aws.client import LazyClient
from remit.adapters.aws.ecs import RunTask
from remit.adapters.aws.operator_client import (
    OperatorApiKeys,
    OperatorFailedQueue,
    OperatorFunction,
    OperatorTask,
    UnreachablePort,
    UnreachableProcessor,
)
from remit.assembly.aws import cloud_services, in_usage_plan, sqs_queue
from remit.assembly.parts import DatabaseAdapters, build, nothing, this_process
from remit.ports.api_keys import ApiKeys
from remit.ports.app import App
from remit.settings import Settings, SettingsError


def through_operator(settings: Settings) -> App:
    """The ports that the operator function, or a task, can fill. Raises SettingsError."""
    if settings.operator_function is not None:
        function = OperatorFunction(LazyClient("lambda"), settings.operator_function)
        keys = in_usage_plan(OperatorApiKeys(function), settings)
        return _reached(settings, keys, OperatorFailedQueue(function))
    try:
        task = msgspec.json.decode(settings.require("operator_task"), type=RunTask)
    except msgspec.DecodeError as error:
        raise SettingsError(f"REMIT_OPERATOR_TASK: {error}.") from error
    operator = OperatorTask(LazyClient("ecs"), LazyClient("logs"), task)
    return _reached(settings, OperatorApiKeys(operator), sqs_queue(settings))


def _reached(settings: Settings, api_keys: ApiKeys, queue: Any) -> App:
    unreachable: Any = UnreachablePort()
    database = DatabaseAdapters(
        store=unreachable,
        books=unreachable,
        api_keys=api_keys,
        outbox=unreachable,
        health_states=unreachable,
        close=nothing,
    )
    processor: Any = UnreachableProcessor()
    app = build(this_process(settings), database, cloud_services(settings), queue, processor)
    # Work is taken by workers. An operator sees what failed, and sends it back to them.
    return replace(app, delivery=replace(app.delivery, queue=unreachable))
