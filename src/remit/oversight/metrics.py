"""The metrics that the worker and the Lambda functions count, by the names that the alarms use.

The `Metrics` port publishes them.
"""

from collections import Counter as Tally
from collections.abc import Callable, Sequence

import structlog

from remit.domain.change import Message, Topic
from remit.oversight.reconcile import reconcile
from remit.ports.app import App
from remit.ports.monitoring import Metrics

FAILED = "MessagesFailed"
OUTBOX_AGE = "OutboxAge"
DEAD_LETTERS = "DeadLetters"
CHECKS = {"ledger": "LedgerImbalances", "links": "LedgerImbalances", "audit": "AuditBreaks"}
OTHER_CHECKS = "Discrepancies"

log = structlog.get_logger("metrics")


class NullMetrics:
    """Counts nothing, for a topology without metrics, such as a laptop."""

    def count(self, name: str, value: float = 1.0) -> None:
        return None

    def seconds(self, name: str, value: float) -> None:
        return None

    async def write(self) -> None:
        return None


def count_notifications(messages: Sequence[Message], metrics: Metrics) -> None:
    """Counts business events by the notifications that announce them."""
    kinds = Tally(m.kind for m in messages if m.topic is Topic.NOTIFICATIONS)
    for kind, number in kinds.items():
        metrics.count(kind, number)


async def count_outbox_age(app: App, metrics: Metrics) -> None:
    """Records the seconds that the oldest message has waited to be sent."""
    oldest = await app.delivery.outbox.oldest_created_at()
    age_seconds = 0.0 if oldest is None else (app.clock() - oldest).total_seconds()
    metrics.seconds(OUTBOX_AGE, max(0.0, age_seconds))


async def count_dead_letters(app: App, metrics: Metrics) -> None:
    metrics.count(DEAD_LETTERS, await app.delivery.failed.count_dead_letters())


async def count_discrepancies(
    app: App, metrics: Metrics, report_progress: Callable[[], None] = lambda: None
) -> dict[str, int]:
    """Reconciles the books. Counts the discrepancies by metric, returns the counts and logs each.

    Calls `report_progress` once for each payment.
    """
    counts = Tally(dict.fromkeys((*CHECKS.values(), OTHER_CHECKS), 0))
    async for discrepancy in reconcile(app, report_progress):
        log.error(
            "discrepancy",
            check=discrepancy.check,
            record=discrepancy.record,
            problem=discrepancy.problem,
        )
        counts[CHECKS.get(discrepancy.check, OTHER_CHECKS)] += 1
    for name, number in counts.items():
        metrics.count(name, number)
    log.info("reconciled", **counts)
    return dict(counts)
