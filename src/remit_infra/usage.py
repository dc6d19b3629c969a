"""What one payment uses of AWS, and how many a task or a capacity unit carries, by topology.

Counted on the service: its items or rows, its requests and its messages, its bytes.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

FUNCTION_GB = 1.0
PER_TASK_SECOND = 100.0
"""Whole payments that a task of a quarter of a processor takes in a second. One processor took
2,640 in the benchmarks, with a database and a load generator beside it.
"""

PER_UNIT_SECOND = 100.0
"""The same for a capacity unit of Aurora."""

BUSY = 0.35
"""How much of that is used on average: scaling keeps 70 % at the peak of a day, twice its mean."""


class Use(msgspec.Struct, frozen=True):
    """What one payment uses: how many of each, and gigabytes of each."""

    number: Mapping[str, float]
    gigabytes: Mapping[str, float]
    load_balancer_units: float = 0.0


AT_THE_EDGE = {
    "api_gateway_request": 2,
    "kms_request": 0.1,
    "s3_put": 0.02,
    "sns_publish": 2,
    "web_acl_request": 2,
    "xray_trace": 0.1,
}
"""For validate and process, the card sealed and opened, two notifications, and the trail. X-Ray
samples a twentieth and one a second.
"""

USES: Mapping[str, Use] = MappingProxyType(
    {
        # Its nine items are 22 transactional write units and 18 of the indexes; deleting messages
        # and marking audit entries sealed is the rest.
        "lambda-dynamodb": Use(
            number={
                **AT_THE_EDGE,
                "lambda_gb_second": 4 * 0.08 * FUNCTION_GB,
                "lambda_request": 4,
                "read_request_unit": 14,
                "write_request_unit": 60,
            },
            gigabytes={"log_ingested": 6e-6, "table_month": 7e-6},
        ),
        # Two requests; delivery takes many at once. Twelve rows with their indexes.
        "lambda-postgres": Use(
            number={
                **AT_THE_EDGE,
                "lambda_gb_second": 2 * 0.06 * FUNCTION_GB,
                "lambda_request": 2.1,
            },
            gigabytes={"log_ingested": 6e-6, "nat": 2e-5, "rds_multi_az_month": 9e-6},
        ),
        # No request passes API Gateway, and no function writes a line when it begins and ends.
        "fargate-aurora": Use(
            number={
                **{name: n for name, n in AT_THE_EDGE.items() if name != "api_gateway_request"},
                "aurora_io": 10,
                "sqs_request": 0.1,
            },
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
