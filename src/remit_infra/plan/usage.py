"""What one payment uses of AWS, and how many a task or a capacity unit carries, by topology.

Counted on the service: its items or rows, its requests and its messages, its bytes. What can be
counted in memory is held to this by tests/infra/test_usage.py.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from remit_infra.plan.pricing import MONTH_MINUTES, MONTH_SECONDS

FUNCTION_GB = 1.0
PER_TASK_SECOND = 100.0
"""Whole payments that a task of a quarter of a processor takes in a second. The API's process uses
0.26 ms of a processor for one (docs/benchmarks.md), which would be 960; TLS, KMS and slower
processors are in the difference.
"""

PER_UNIT_SECOND = 100.0
"""The same for a capacity unit of Aurora: PostgreSQL uses 0.22 ms."""

BUSY = 0.35
"""How much of that is used on average: scaling keeps 70 % at the peak of a day, twice its mean."""

SEALED_TOGETHER = 2_000
"""Audit entries that are in a segment at most: the setting `archive_batch`."""

SENT_TOGETHER = 10
"""Messages that SNS takes in one call, and counts as one."""


class Batch(msgspec.Struct, frozen=True):
    """What payments of one moment share: one by itself uses `alone`, and all together use no more
    than `rounds` a month and `packed` for each.
    """

    alone: float
    rounds: float
    packed: float


class Use(msgspec.Struct, frozen=True):
    """What one payment uses: how many of each, of what is shared, and gigabytes of each."""

    number: Mapping[str, float]
    batched: Mapping[str, Batch]
    gigabytes: Mapping[str, float]
    load_balancer_units: float = 0.0


KMS_REQUESTS = 0.03
"""The service asks for a data key once a process and 16,777,216 cards, and for each other process's
key once. SNS, SQS and S3 ask for theirs every five minutes at most, 8,760 times a month each: that
is this at a million payments a month.
"""

AT_THE_EDGE = {"api_gateway_request": 2, "kms_request": KMS_REQUESTS, "web_acl_request": 2}
"""For validate and process."""

OBJECTS, ENTRIES = 2, 3
"""A segment and its seal, of what validate, claim and outcome each leave in the trail."""

STEPS = 2
"""Validate and process come from a caller one after the other; each tells of itself once."""

PACKED_OBJECTS = OBJECTS * ENTRIES / SEALED_TOGETHER
PACKED_MESSAGES = STEPS / SENT_TOGETHER

BY_THE_CLOCK = {
    "s3_put": Batch(alone=OBJECTS * STEPS, rounds=OBJECTS * MONTH_MINUTES, packed=PACKED_OBJECTS),
    "sns_publish": Batch(alone=STEPS, rounds=MONTH_MINUTES, packed=PACKED_MESSAGES),
    # X-Ray's own rule: the first of each second, and a twentieth of the others.
    "xray_trace": Batch(alone=STEPS, rounds=MONTH_SECONDS, packed=STEPS * 0.05),
}
"""Delivered and sealed by a function that the clock calls every minute."""

SEALING_SECONDS = 1.2
"""A worker seals whatever waits, and then again after the pause `seal_interval_seconds`: two
objects, of 100 ms each (Amazon S3, "Performance design patterns": 100 to 200 ms for small objects).
"""

RELAYING_SECONDS = 0.05
"""The same for messages: one call of SNS, and two statements."""

BY_A_WORKER = {
    "s3_put": Batch(
        alone=OBJECTS * STEPS,
        rounds=OBJECTS * MONTH_SECONDS / SEALING_SECONDS,
        packed=PACKED_OBJECTS,
    ),
    "sns_publish": Batch(
        alone=STEPS, rounds=MONTH_SECONDS / RELAYING_SECONDS, packed=PACKED_MESSAGES
    ),
}

USES: Mapping[str, Use] = MappingProxyType(
    {
        # Its nine items are 22 transactional write units and 18 of the indexes; deleting messages
        # and marking audit entries sealed is the rest. The stream sends each message by itself.
        "lambda-dynamodb": Use(
            number={
                **AT_THE_EDGE,
                "lambda_gb_second": 4 * 0.08 * FUNCTION_GB,
                "lambda_request": 4,
                "read_request_unit": 14,
                "write_request_unit": 60,
            },
            batched=BY_THE_CLOCK | {"sns_publish": Batch(alone=STEPS, rounds=0, packed=STEPS)},
            gigabytes={"log_ingested": 6e-6, "table_month": 7e-6},
        ),
        # Two requests; delivery takes many at once. Twelve rows with their indexes.
        "lambda-postgres": Use(
            number={
                **AT_THE_EDGE,
                "lambda_gb_second": 2 * 0.06 * FUNCTION_GB,
                "lambda_request": 2.1,
            },
            batched=BY_THE_CLOCK,
            gigabytes={"log_ingested": 6e-6, "nat": 2e-5, "rds_multi_az_month": 9e-6},
        ),
        # No request passes API Gateway, and no function writes a line when it begins and ends. A
        # payment leaves nothing in the queue unless its processor is away: say, one in a hundred,
        # sent, received and deleted. A twentieth is traced, and nothing besides.
        "fargate-aurora": Use(
            number={
                **{name: n for name, n in AT_THE_EDGE.items() if name != "api_gateway_request"},
                "aurora_io": 10,
                "sqs_request": 0.03,
                "xray_trace": STEPS * 0.05,
            },
            batched=BY_A_WORKER,
            gigabytes={"aurora_month": 9e-6, "log_ingested": 4e-6},
            load_balancer_units=6e-6,
        ),
    }
)

SERVICE_OF = MappingProxyType(
    {
        "api_gateway_request": "API Gateway",
        "aurora_io": "Aurora",
        "aurora_month": "Aurora",
        "kms_request": "KMS",
        "lambda_gb_second": "Lambda",
        "lambda_request": "Lambda",
        "log_ingested": "CloudWatch",
        "nat": "VPC",
        "rds_multi_az_month": "RDS",
        "read_request_unit": "DynamoDB",
        "s3_put": "S3",
        "sns_publish": "SNS",
        "sqs_request": "SQS",
        "table_month": "DynamoDB",
        "web_acl_request": "WAF",
        "write_request_unit": "DynamoDB",
        "xray_trace": "X-Ray",
    }
)
