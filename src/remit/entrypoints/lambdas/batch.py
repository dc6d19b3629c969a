"""Batches from a queue or a stream: each record answers for itself, and only what failed returns.

Powertools' batch processor runs every record at once on an event loop of its own; here a stream is
taken in its order, and all of a container runs on one loop.
"""

from collections.abc import Awaitable, Sequence

import structlog
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from remit.domain.change import Message
from remit.domain.errors import RemitError
from remit.oversight.metrics import FAILED
from remit.ports.monitoring import NAMESPACE

log = structlog.get_logger("lambda")

Failures = dict[str, list[dict[str, str]]]


def failures(identifiers: Sequence[str]) -> Failures:
    """The partial batch response: what is to be delivered again."""
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in identifiers]}


class Counter:
    """The Metrics port in the log (CloudWatch's embedded format), written once per invocation."""

    def __init__(self) -> None:
        self._metrics = Metrics(namespace=NAMESPACE)

    def count(self, name: str, value: float = 1.0) -> None:
        self._metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)

    def seconds(self, name: str, value: float) -> None:
        self._metrics.add_metric(name=name, unit=MetricUnit.Seconds, value=value)

    async def write(self) -> None:
        if self._metrics.metric_set:
            self._metrics.flush_metrics()


async def handled(step: Awaitable[None], message: Message, counter: Counter) -> bool:
    """Whether the step was taken. One poisonous message must not stop the others, and a failure
    that is caught here never shows in the function's own errors: it is counted by itself.
    """
    try:
        await step
    except RemitError as error:
        log.warning("message_failed", message_id=message.id, kind=message.kind, error=error.code)
    except Exception:
        log.exception("message_failed", message_id=message.id, kind=message.kind)
    else:
        return True
    counter.count(FAILED)
    return False
