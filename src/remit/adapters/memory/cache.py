"""Where there is no cache."""

from remit.domain.payment import Payment
from remit.domain.payment_summary import PaymentSummary


class NoCache:
    """Holds nothing, which a cache may do at any time."""

    async def payment(self, payment_id: str) -> PaymentSummary | None:
        return None

    async def put(self, payment: Payment) -> None:
        return None

    async def ping(self) -> bool:
        return False
