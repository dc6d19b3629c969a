"""The payment API on Lambda and DynamoDB, in CDK.

A request comes through the web firewall and API Gateway to a function; everything is in one table,
whose stream hands committed messages to the deliverer. `stack.py` is the whole; roles are in
`permissions.py`, alarms in `alarms.py`, sizes in `environments.py`.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from remit_infra.build.node import use_bundled_node

use_bundled_node()

STACK_NAME = "payment-lambda-dynamodb"


def synthesise_in_subprocess(**options: Any) -> tuple[str, dict[str, Any]]:
    """`stack.synthesise` in a process that ends with it, and with it the CDK's Node.js."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_synthesise, options).result()


def _synthesise(options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    from remit_infra.topologies.lambda_dynamodb.stack import synthesise

    return synthesise(**options)
