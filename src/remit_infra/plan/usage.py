"""What one payment uses of AWS, and how many a task or a capacity unit carries, by topology.

The numbers are counted on the service: its items or rows, its requests, its messages, its bytes.
tests/infra/test_usage.py compares with the service what can be counted in memory.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from remit_infra.plan.pricing import MONTH_MINUTES, MONTH_SECONDS

FUNCTION_GB = 1.0
PER_TASK_SECOND = 100.0
"""Whole payments that a task with a quarter of a vCPU takes in a second. The API's process uses
0.26 ms of a vCPU for one (docs/benchmarks.md), which would be 960; the difference is for TLS, KMS
and slower vCPUs.
"""

PER_UNIT_SECOND = 100.0
"""The same for a capacity unit of Aurora: PostgreSQL uses 0.22 ms."""

AVERAGE_LOAD = 0.35
"""The part of that which is used on average: scaling keeps 70 % at the peak of a day, which is
twice the mean.
"""

ENTRIES_PER_SEGMENT = 2_000
"""Audit entries that are in a segment at most: the setting `archive_batch`."""

MESSAGES_PER_PUBLISH = 10
"""Messages that SNS takes in one call, and counts as one."""


class Batch(msgspec.Struct, frozen=True):
    """What payments of one moment share. A payment by itself uses `alone`; all payments of a month
    together use at most `rounds`, and `packed` for each of them.
    """

    alone: float
    rounds: float
    packed: float


class Use(msgspec.Struct, frozen=True):
    """What one payment uses: how many of each price in `number` and `batched`, and gigabytes."""

    number: Mapping[str, float]
    batched: Mapping[str, Batch]
    gigabytes: Mapping[str, float]
    load_balancer_units: float = 0.0


KMS_REQUESTS = 0.03
"""The service requests a data key once for each process and 16,777,216 cards, and once for the key
of each other process. SNS, SQS and S3 request theirs every five minutes at most, 8,760 times a
month each: that is this number at a million payments a month.
"""

GATEWAY_USE = {"api_gateway_request": 2, "kms_request": KMS_REQUESTS, "web_acl_request": 2}
"""For validate and process."""

OBJECTS_PER_SEGMENT, ENTRIES_PER_PAYMENT = 2, 3
"""A segment and its digest; validate, claim and result each leave an audit entry."""

STEPS = 2
"""A caller sends validate and process one after the other; each leaves one notification."""

PACKED_OBJECTS = OBJECTS_PER_SEGMENT * ENTRIES_PER_PAYMENT / ENTRIES_PER_SEGMENT
PACKED_MESSAGES = STEPS / MESSAGES_PER_PUBLISH

SCHEDULED_DELIVERY = {
    "s3_put": Batch(
        alone=OBJECTS_PER_SEGMENT * STEPS,
        rounds=OBJECTS_PER_SEGMENT * MONTH_MINUTES,
        packed=PACKED_OBJECTS,
    ),
    "sns_publish": Batch(alone=STEPS, rounds=MONTH_MINUTES, packed=PACKED_MESSAGES),
    # X-Ray's own rule: the first of each second, and a twentieth of the others.
    "xray_trace": Batch(alone=STEPS, rounds=MONTH_SECONDS, packed=STEPS * 0.05),
}
"""A function that is scheduled every minute relays messages and archives audit entries."""

ARCHIVE_SECONDS = 1.2
"""A worker archives what waits, and again after `archive_interval_seconds`: two objects, of 100 ms
each (Amazon S3, "Performance design patterns": 100 to 200 ms for small objects).
"""

RELAY_SECONDS = 0.05
"""The same for messages: one call of SNS, and two statements."""

WORKER_DELIVERY = {
    "s3_put": Batch(
        alone=OBJECTS_PER_SEGMENT * STEPS,
        rounds=OBJECTS_PER_SEGMENT * MONTH_SECONDS / ARCHIVE_SECONDS,
        packed=PACKED_OBJECTS,
    ),
    "sns_publish": Batch(alone=STEPS, rounds=MONTH_SECONDS / RELAY_SECONDS, packed=PACKED_MESSAGES),
}
"""A worker relays and archives all the time."""

USES: Mapping[str, Use] = MappingProxyType(
    {
        # Its eleven items are 22 transactional write units and 19 of the indexes; the rest deletes
        # messages, marks audit entries as archived, and is for idempotency keys. The stream sends
        # each message by itself.
        "lambda-dynamodb": Use(
            number={
                **GATEWAY_USE,
                "lambda_gb_second": 4 * 0.08 * FUNCTION_GB,
                "lambda_request": 4,
                "read_request_unit": 17,
                "write_request_unit": 60,
            },
            batched=SCHEDULED_DELIVERY
            | {"sns_publish": Batch(alone=STEPS, rounds=0, packed=STEPS)},
            gigabytes={"log_ingested": 6e-6, "table_month": 7e-6},
        ),
        # Two requests; delivery handles many at once. Twelve rows with their indexes.
        "lambda-postgres": Use(
            number={
                **GATEWAY_USE,
                "lambda_gb_second": 2 * 0.06 * FUNCTION_GB,
                "lambda_request": 2.1,
            },
            batched=SCHEDULED_DELIVERY,
            gigabytes={"log_ingested": 6e-6, "nat": 2e-5, "rds_multi_az_month": 9e-6},
        ),
        # No request passes API Gateway, and no function logs its start and end. A payment leaves a
        # message in the queue only if its processor does not answer: assumed for one in a hundred,
        # sent, received and deleted. A twentieth of the requests is traced.
        "fargate-aurora": Use(
            number={
                **{name: n for name, n in GATEWAY_USE.items() if name != "api_gateway_request"},
                "aurora_io": 10,
                "sqs_request": 0.03,
                "xray_trace": STEPS * 0.05,
            },
            batched=WORKER_DELIVERY,
            gigabytes={"aurora_month": 9e-6, "log_ingested": 4e-6},
            load_balancer_units=6e-6,
        ),
    }
)


class Priced(NamedTuple):
    """The AWS service that a price of `USES` belongs to, and what a person reads of it."""

    service: str
    label: str


PRICED: Mapping[str, Priced] = MappingProxyType(
    {
        "api_gateway_request": Priced("API Gateway", "requests"),
        "aurora_io": Priced("Aurora", "reads and writes of storage"),
        "aurora_month": Priced("Aurora", "storage of payments"),
        "kms_request": Priced("KMS", "requests for data keys and fingerprints"),
        "lambda_gb_second": Priced("Lambda", "compute time"),
        "lambda_request": Priced("Lambda", "invocations"),
        "log_ingested": Priced("CloudWatch", "logs of requests"),
        "nat": Priced("VPC", "traffic through NAT gateways"),
        "rds_multi_az_month": Priced("RDS", "storage of payments, Multi-AZ"),
        "read_request_unit": Priced("DynamoDB", "read request units"),
        "s3_put": Priced("S3", "audit segments"),
        "sns_publish": Priced("SNS", "notifications"),
        "sqs_request": Priced("SQS", "work messages"),
        "table_month": Priced("DynamoDB", "storage of payments"),
        "web_acl_request": Priced("WAF", "inspected requests"),
        "write_request_unit": Priced("DynamoDB", "write request units"),
        "xray_trace": Priced("X-Ray", "traces of requests"),
    }
)
