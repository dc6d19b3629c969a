"""What a cache needs around it: the store that keeps it new, and none at all."""

from remit.domain.change import Change, Conflict, IdempotencyRecord, KeyScope
from remit.domain.payment import Mode, Payment, Refund
from remit.domain.payment_summary import PaymentSummary
from remit.ports.process_state import Cache
from remit.ports.store import Store


class NoCache:
    """Knows nothing, as a cache may at any time."""

    async def payment(self, payment_id: str) -> PaymentSummary | None:
        return None

    async def put(self, payment: Payment) -> None:
        return None

    async def ping(self) -> bool:
        return False


class WriteThrough:
    """A store whose commits reach the cache before their callers are answered, so that whoever
    has changed a payment is shown the change. It reads nothing from the cache.
    """

    def __init__(self, store: Store, cache: Cache) -> None:
        self._store = store
        self._cache = cache

    async def commit(self, change: Change) -> Conflict | None:
        conflict = await self._store.commit(change)
        if conflict is None and change.payment is not None:
            await self._cache.put(change.payment)
        return conflict

    async def payment(self, payment_id: str) -> Payment | None:
        return await self._store.payment(payment_id)

    async def refund(self, refund_id: str) -> Refund | None:
        return await self._store.refund(refund_id)

    async def payment_by_reference(
        self, merchant_id: str, mode: Mode, reference: str
    ) -> Payment | None:
        return await self._store.payment_by_reference(merchant_id, mode, reference)

    async def record(self, scope: KeyScope) -> IdempotencyRecord | None:
        return await self._store.record(scope)
