"""Batches of a queue or a stream: handles each record by itself, and returns those that failed.

Powertools' batch processor runs all records at once, on an event loop of its own. Here a stream is
handled in its order, and everything in a container runs on one loop.
"""

from collections.abc import Awaitable, Sequence

import structlog
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from remit.domain.change import Message
from remit.domain.errors import RemitError
from remit.oversight.metrics import FAILED
from remit.ports.monitoring import NAMESPACE

log = structlog.get_logger("lambda")

BatchResponse = dict[str, list[dict[str, str]]]


def batch_response(failed_ids: Sequence[str]) -> BatchResponse:
    """Lambda's partial batch response: the records that are to be delivered again."""
    return {"batchItemFailures": [{"itemIdentifier": id_} for id_ in failed_ids]}


class EmbeddedMetrics:
    """The Metrics port in the log, in CloudWatch's embedded format, once for each invocation."""

    def __init__(self) -> None:
        self._metrics = Metrics(namespace=NAMESPACE)

    def count(self, name: str, value: float = 1.0) -> None:
        self._metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)

    def seconds(self, name: str, value: float) -> None:
        self._metrics.add_metric(name=name, unit=MetricUnit.Seconds, value=value)

    async def write(self) -> None:
        if self._metrics.metric_set:
            self._metrics.flush_metrics()


async def try_record(step: Awaitable[None], message: Message, metrics: EmbeddedMetrics) -> bool:
    """Takes the step of one record. Returns False if it failed, whatever the error.

    One record that fails must not stop the others. The function itself does not fail then, so the
    failure is counted in a metric of its own.
    """
    try:
        await step
    except RemitError as error:
        log.warning("message_failed", message_id=message.id, kind=message.kind, error=error.code)
    except Exception:
        log.exception("message_failed", message_id=message.id, kind=message.kind)
    else:
        return True
    metrics.count(FAILED)
    return False
