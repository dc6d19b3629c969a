"""Assembles the service in AWS: on RDS, Aurora or DynamoDB, with what AWS has around it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec

from remit.adapters.aws.client import LazyClient, client
from remit.adapters.memory.cache import WriteThrough
from remit.adapters.processors.simulated.processor import SimulatedProcessor
from remit.assembly.postgres import CloudServices, database_login, in_process, on_postgres
from remit.clock_and_ids import new_id, new_secret, now
from remit.oversight.metrics import NullMetrics
from remit.ports.api_keys import ApiKeys
from remit.ports.app import App
from remit.ports.delivery import FailedQueue
from remit.settings import Settings, SettingsError


def assemble_in_aws(settings: Settings) -> App:
    """The service over what the settings name. Only what is used is imported."""
    if settings.operator_function is not None:
        return _through_function(settings, settings.operator_function)
    if settings.operator_task is not None:
        return _through_task(settings, settings.operator_task)
    if settings.transactions_table is not None:
        return _on_dynamodb(settings, settings.transactions_table)
    return _on_rds(settings) if settings.work_queue_url is None else _on_aurora(settings)


def _in_aws(settings: Settings) -> CloudServices:
    """SNS, S3, KMS and CloudWatch, as the settings name them."""
    from remit.adapters.aws.cloudwatch import CloudWatchMeasures, CloudWatchMetrics
    from remit.adapters.aws.kms import kms_vault
    from remit.adapters.aws.s3 import S3Bucket
    from remit.adapters.aws.sns import SnsTopic

    sns, cloudwatch = LazyClient("sns"), LazyClient("cloudwatch")
    service = settings.service_name
    return CloudServices(
        notifications=SnsTopic(sns, settings.needed("notification_topic_arn")),
        alerts=SnsTopic(sns, settings.needed("alarm_topic_arn")),
        bucket=S3Bucket(LazyClient("s3"), settings.needed("audit_bucket")),
        vault=kms_vault(
            LazyClient("kms"),
            key_id=settings.needed("card_key_id"),
            mac_key_id=settings.needed("fingerprint_key_id"),
        ),
        measures=CloudWatchMeasures(cloudwatch, settings.monitored_metrics, now),
        metrics=CloudWatchMetrics(cloudwatch, service) if service else NullMetrics(),
    )


def _on_rds(settings: Settings) -> App:
    """PostgreSQL in RDS, over one connection for all that a container does, and AWS around it."""
    from remit.adapters.aws import rds
    from remit.adapters.postgres.connection import Connection
    from remit.adapters.processors.simulated.postgres_store import PostgresSimulatorStore

    login = database_login(settings)
    connection = Connection(login, by_index=True, span=rds.span)
    memory = PostgresSimulatorStore(connection)
    around = _in_aws(settings)
    app = on_postgres(settings, around, memory, login, connection, connection, connection)
    if settings.usage_plan_id is None:
        return app
    return replace(app, keys=_in_plan(app.keys, settings))


def _on_aurora(settings: Settings) -> App:
    """PostgreSQL in Aurora for processes that stay, a connection for each thing to do; work in SQS,
    and AWS around it.
    """
    from remit.adapters.aws import rds
    from remit.adapters.aws.sqs import SqsQueue
    from remit.adapters.aws.wake import WakingStore
    from remit.adapters.postgres.connection import Connection
    from remit.adapters.processors.simulated.postgres_store import PostgresSimulatorStore

    login, quiet = database_login(settings), settings.idle_after_seconds
    writing, reading, delivery = (
        Connection(login, by_index=True, span=rds.span, idle_after_seconds=quiet) for _ in range(3)
    )
    queue = SqsQueue(
        LazyClient("sqs"),
        settings.needed("work_queue_url"),
        settings.needed("work_dead_letter_url"),
        retry_seconds=settings.work_retry_seconds,
        wait_seconds=settings.work_wait_seconds,
        visibility_seconds=settings.work_visibility_seconds,
    )
    around, memory = _in_aws(settings), PostgresSimulatorStore(delivery)
    app = on_postgres(settings, around, memory, login, writing, reading, delivery)
    app = replace(app, queue=queue, failed=queue)
    if quiet is None:
        return app
    waking = WakingStore(app.store, queue, now, new_id, every_seconds=quiet / 2)

    async def close() -> None:
        await waking.close()
        await app.close()

    return replace(app, store=waking, close=close)


def _on_dynamodb(settings: Settings, table_name: str) -> App:
    """DynamoDB and SQS, as the settings name them, and AWS around them."""
    from remit.adapters.aws.sqs import SqsQueue
    from remit.adapters.dynamodb.books import DynamoBooks
    from remit.adapters.dynamodb.delivery import DynamoApiKeys, DynamoHealthStates, DynamoOutbox
    from remit.adapters.dynamodb.store import DynamoStore
    from remit.adapters.dynamodb.table import Table
    from remit.adapters.processors.simulated.dynamodb_store import DynamoSimulatorStore

    table = Table(client("dynamodb"), table_name)
    kept = timedelta(seconds=settings.idempotency_retention_seconds)
    store = DynamoStore(table, kept=kept)
    outbox = DynamoOutbox(table)
    queue = SqsQueue(
        LazyClient("sqs"),
        settings.needed("work_queue_url"),
        settings.needed("work_dead_letter_url"),
        retry_seconds=settings.work_retry_seconds,
    )

    async def close() -> None:
        return None

    return App(
        settings=settings,
        clock=now,
        new_id=new_id,
        store=store,
        reader=store,
        books=DynamoBooks(table),
        keys=DynamoApiKeys(table),
        outbox=outbox,
        audit_log=outbox,
        retention=outbox,
        verdicts=DynamoHealthStates(table),
        queue=queue,
        failed=queue,
        processor=SimulatedProcessor(DynamoSimulatorStore(table), settings),
        ping=store.ping,
        close=close,
        **_in_aws(settings)._asdict(),
        **in_process(settings)._asdict(),
    )


def _through_function(settings: Settings, function: str) -> App:
    """An operator's machine, for a database that only functions reach."""
    from remit.adapters.aws.operator_client import (
        OperatorApiKeys,
        OperatorFailedQueue,
        OperatorFunction,
    )

    operator = OperatorFunction(LazyClient("lambda"), function)
    keys = _in_plan(OperatorApiKeys(operator), settings)
    return _out_of_reach(settings, keys, OperatorFailedQueue(operator))


def _through_task(settings: Settings, task: str) -> App:
    """An operator's machine, for a database that only tasks reach. Failed work is in SQS."""
    from remit.adapters.aws.ecs import RunTask
    from remit.adapters.aws.operator_client import OperatorApiKeys, OperatorTask
    from remit.adapters.aws.sqs import SqsQueue

    try:
        where = msgspec.json.decode(task, type=RunTask)
    except msgspec.DecodeError as error:
        raise SettingsError(f"REMIT_OPERATOR_TASK: {error}.") from error
    operator = OperatorTask(LazyClient("ecs"), LazyClient("logs"), where)
    queue = SqsQueue(
        LazyClient("sqs"),
        settings.needed("work_queue_url"),
        settings.needed("work_dead_letter_url"),
        retry_seconds=settings.work_retry_seconds,
    )
    return _out_of_reach(settings, OperatorApiKeys(operator), queue)


def _out_of_reach(settings: Settings, keys: ApiKeys, failed: FailedQueue) -> App:
    """ApiKeys, failed work and the trail, and nothing that needs the database itself."""
    from remit.adapters.aws.operator_client import UnreachablePort

    nothing: Any = UnreachablePort()

    async def close() -> None:
        return None

    return App(
        settings=settings,
        clock=now,
        new_id=new_id,
        store=nothing,
        reader=nothing,
        books=nothing,
        keys=keys,
        outbox=nothing,
        audit_log=nothing,
        retention=nothing,
        verdicts=nothing,
        queue=nothing,
        failed=failed,
        processor=nothing,
        ping=nothing.ping,
        close=close,
        **_in_aws(settings)._asdict(),
        **in_process(settings)._asdict(),
    )


def _in_plan(keys: ApiKeys, settings: Settings) -> ApiKeys:
    """The keys, registered in API Gateway's usage plan as well."""
    from remit.adapters.aws.gateway_keys import GatewayApiKeys

    plan = settings.needed("usage_plan_id")
    return GatewayApiKeys(LazyClient("apigateway"), keys, usage_plan_id=plan)


def with_redis(app: App) -> App:
    """The service with limits, shown payments and sessions in ElastiCache for Redis."""
    from remit.adapters.aws import elasticache
    from remit.adapters.redis.cache import RedisCache
    from remit.adapters.redis.connection import RedisConnection
    from remit.adapters.redis.limiter import RedisLimiter
    from remit.adapters.redis.sessions import RedisSessions

    settings = app.settings
    endpoint = settings.needed("cache_endpoint")
    login = elasticache.IamLogin(
        cache_name=settings.needed("cache_name"), user=settings.needed("cache_user")
    )
    redis = RedisConnection(
        lambda: elasticache.connection(endpoint, login, settings.cache_ca), app.clock
    )
    cache = RedisCache(redis, seconds=settings.cache_seconds)
    limiter = RedisLimiter(
        redis,
        per_second=settings.rate_per_second,
        burst=settings.rate_burst,
        otherwise=app.limiter,
    )

    async def close() -> None:
        await redis.close()
        await app.close()

    return replace(
        app,
        store=WriteThrough(app.store, cache),
        limiter=limiter,
        cache=cache,
        sessions=RedisSessions(redis, new_secret),
        close=close,
    )
