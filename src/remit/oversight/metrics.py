"""What the service counts of itself, by the names that alarms know; and the proof that is counted.

For the worker and the functions. How counts leave the process is the `Metrics` port's own affair.
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

log = structlog.get_logger("counted")


class NullMetrics:
    """Metrics where nobody looks at them: on a laptop."""

    def count(self, name: str, value: float = 1.0) -> None:
        return None

    def seconds(self, name: str, value: float) -> None:
        return None

    async def write(self) -> None:
        return None


def count_notifications(messages: Sequence[Message], metrics: Metrics) -> None:
    """The business, by what callers are told of it."""
    told = Tally(m.kind for m in messages if m.topic is Topic.NOTIFICATIONS)
    for kind, number in told.items():
        metrics.count(kind, number)


async def count_outbox_age(app: App, metrics: Metrics) -> None:
    """How long the oldest message has waited to be sent."""
    oldest = await app.delivery.outbox.oldest()
    age = 0.0 if oldest is None else (app.clock() - oldest).total_seconds()
    metrics.seconds(OUTBOX_AGE, max(0.0, age))


async def count_dead_letters(app: App, metrics: Metrics) -> None:
    metrics.count(DEAD_LETTERS, await app.delivery.failed.dead())


async def count_discrepancies(
    app: App, metrics: Metrics, seen: Callable[[], None] = lambda: None
) -> dict[str, int]:
    """How many disagreements each check found, counted too. Each is logged with its record."""
    found = Tally(dict.fromkeys((*CHECKS.values(), OTHER_CHECKS), 0))
    async for one in reconcile(app, seen):
        log.error("discrepancy", check=one.check, record=one.record, problem=one.problem)
        found[CHECKS.get(one.check, OTHER_CHECKS)] += 1
    for name, number in found.items():
        metrics.count(name, number)
    return dict(found)
