"""The port to a payment processor, the outside party that moves money."""

from typing import Protocol

import msgspec

from remit.domain.card import Card
from remit.domain.payment import Mode, Operation, ProcessorResult


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """One operation that a processor is called with.

    `key` is its idempotency key, so that the same instruction can be sent again. `reference` is
    the processor's own name for the payment, once it is known.
    """

    key: str
    operation: Operation
    payment_id: str
    amount_minor: int
    currency: str
    card: Card | None = None
    reference: str | None = None


class Processor(Protocol):
    """A payment processor."""

    @property
    def name(self) -> str: ...

    @property
    def modes(self) -> frozenset[Mode]:
        """The modes it takes. A processor that moves no money does not take `live`."""
        ...

    async def execute(self, instruction: Instruction) -> ProcessorResult:
        """Does the operation once per key, or declines it.

        Raises ProcessorUnavailable if nothing was done, and ProcessorTimeout if it may have been.
        """
        ...

    async def find(self, key: str) -> ProcessorResult | None:
        """The result of the instruction with this key, or None if the processor never got it."""
        ...

    async def balance(self, payment_id: str) -> int | None:
        """Captured less refunded, in minor units, by the processor's own books.

        None if the processor does not know the payment.
        """
        ...
