"""Assembles the service in AWS: on RDS, Aurora or DynamoDB, with AWS's other services."""

from remit.adapters.aws.client import LazyClient, client
from remit.adapters.aws.sqs import SqsQueue
from remit.adapters.processors.simulated.processor import SimulatedProcessor
from remit.assembly.parts import (
    CloudServices,
    Process,
    build,
    no_disk,
    this_process,
)
from remit.domain.change import Change
from remit.oversight.metrics import NullMetrics
from remit.ports.api_keys import ApiKeys
from remit.ports.app import App
from remit.settings import Settings


def assemble_in_aws(settings: Settings) -> App:
    """The service on the database that the settings name. Only the adapters in use are imported."""
    process = this_process(settings)
    if settings.transactions_table is not None:
        return _on_dynamodb(process, settings.transactions_table)
    return _on_rds(process) if settings.work_queue_url is None else _on_aurora(process)


def cloud_services(settings: Settings) -> CloudServices:
    """Adapters to SNS, S3, KMS and CloudWatch. Raises SettingsError if one is not named."""
    from remit.adapters.aws.cloudwatch import CloudWatchMeasures, CloudWatchMetrics
    from remit.adapters.aws.kms import kms_vault
    from remit.adapters.aws.kms_signer import KmsSigner
    from remit.adapters.aws.s3 import S3Bucket
    from remit.adapters.aws.sns import SnsTopic
    from remit.clock_and_ids import now

    sns, kms, cloudwatch = LazyClient("sns"), LazyClient("kms"), LazyClient("cloudwatch")
    service = settings.service_name
    return CloudServices(
        notifications=SnsTopic(sns, settings.require("notification_topic_arn")),
        alerts=SnsTopic(sns, settings.require("alarm_topic_arn")),
        bucket=S3Bucket(LazyClient("s3"), settings.require("audit_bucket")),
        signer=KmsSigner(kms, settings.require("audit_key_id")),
        vault=kms_vault(
            kms,
            key_id=settings.require("card_key_id"),
            mac_key_id=settings.require("fingerprint_key_id"),
        ),
        measures=CloudWatchMeasures(cloudwatch, settings.monitored_metrics, now),
        metrics=CloudWatchMetrics(cloudwatch, service) if service else NullMetrics(),
        disk=no_disk,
    )


def sqs_queue(settings: Settings) -> SqsQueue:
    """The work queue in SQS. Raises SettingsError if the settings do not name it."""
    return SqsQueue(
        LazyClient("sqs"),
        settings.require("work_queue_url"),
        settings.require("work_dead_letter_url"),
        retry_seconds=settings.work_retry_seconds,
        wait_seconds=settings.work_wait_seconds,
        visibility_seconds=settings.work_visibility_seconds,
    )


def in_usage_plan(api_keys: ApiKeys, settings: Settings) -> ApiKeys:
    """API keys that are registered in API Gateway's usage plan as well."""
    from remit.adapters.aws.gateway_keys import GatewayApiKeys

    plan = settings.require("usage_plan_id")
    return GatewayApiKeys(LazyClient("apigateway"), api_keys, usage_plan_id=plan)


def _on_rds(process: Process) -> App:
    """The service on PostgreSQL in RDS.

    A function's container answers one request at a time, so one connection is enough.
    """
    from remit.adapters.aws import rds
    from remit.adapters.processors.simulated.postgres_store import PostgresSimulatorStore
    from remit.assembly.postgres import make_connections, postgres_adapters, postgres_queue

    connections = make_connections(process, span=rds.span, shared=True)
    database = postgres_adapters(process, connections)
    if process.settings.usage_plan_id is not None:
        api_keys = in_usage_plan(database.api_keys, process.settings)
        database = database._replace(api_keys=api_keys)
    return build(
        process,
        database,
        cloud_services(process.settings),
        postgres_queue(process, connections.delivery),
        SimulatedProcessor(PostgresSimulatorStore(connections.delivery), process.settings),
    )


def _on_aurora(process: Process) -> App:
    """The service on PostgreSQL in Aurora, with its work queue in SQS, for tasks.

    Where processes may be idle, a commit wakes the workers.
    """
    from remit.adapters.aws import rds
    from remit.adapters.aws.wake import WakeSignal
    from remit.adapters.processors.simulated.postgres_store import PostgresSimulatorStore
    from remit.assembly.postgres import make_connections, postgres_adapters

    settings, idle = process.settings, process.idle
    queue = sqs_queue(settings)
    connections = make_connections(process, span=rds.span)
    if idle.after_seconds is None:
        database = postgres_adapters(process, connections)
    else:
        wake = WakeSignal(
            queue, process.clock, process.new_id, every_seconds=idle.after_seconds / 2
        )

        async def record_work(change: Change) -> None:
            idle.record_work()

        database = postgres_adapters(process, connections, record_work, wake)
        close_database = database.close

        async def close() -> None:
            await wake.close()
            await close_database()

        database = database._replace(close=close)
    return build(
        process,
        database,
        cloud_services(settings),
        queue,
        SimulatedProcessor(PostgresSimulatorStore(connections.delivery), settings),
    )


def _on_dynamodb(process: Process, table_name: str) -> App:
    """The service on DynamoDB and SQS."""
    from remit.adapters.dynamodb.table import Table
    from remit.adapters.processors.simulated.dynamodb_store import DynamoSimulatorStore
    from remit.assembly.dynamodb import dynamodb_adapters

    table = Table(client("dynamodb"), table_name)
    return build(
        process,
        dynamodb_adapters(process, table),
        cloud_services(process.settings),
        sqs_queue(process.settings),
        SimulatedProcessor(DynamoSimulatorStore(table), process.settings),
    )
