"""lambda-dynamodb, in CDK: the service on Lambda and DynamoDB.

A request passes the web firewall and API Gateway to a function. All data is in one table, whose
stream invokes delivery for committed messages. `stack.py` makes all resources; roles, alarms and
sizes are tables in `model`.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from remit_infra.build.node import use_bundled_node

use_bundled_node()

STACK_NAME = "payment-lambda-dynamodb"


def synthesise_in_subprocess(**options: Any) -> tuple[str, dict[str, Any]]:
    """`stack.synthesise` in a process of its own. The Node.js of the CDK ends with that process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_synthesise, options).result()


def _synthesise(options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    from remit_infra.topologies.lambda_dynamodb.stack import synthesise

    return synthesise(**options)
