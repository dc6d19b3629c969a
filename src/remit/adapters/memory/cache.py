"""The cache of a topology without one."""

from remit.domain.payment import Payment
from remit.domain.payment_summary import PaymentSummary


class NoCache:
    """Cache that is always empty."""

    async def payment(self, payment_id: str) -> PaymentSummary | None:
        return None

    async def put(self, payment: Payment) -> None:
        return None

    async def ping(self) -> bool:
        return False
