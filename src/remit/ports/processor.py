"""The port to a payment processor, the outside party that moves money."""

from typing import Protocol

import msgspec

from remit.domain.caller import Mode
from remit.domain.card import Card
from remit.domain.operation import OperationKind, ProcessorResult


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """One operation that a processor is called with.

    `key` is its idempotency key: under one key there is one instruction, for ever, and it can be
    sent again. `reference` is the processor's own name for the payment, once it is known. `attempt`
    counts how often the instruction was sent, this time included. It is for logs and simulators: a
    processor is not told.
    """

    key: str
    operation: OperationKind
    payment_id: str
    amount_minor: int
    currency: str
    final: bool = True
    card: Card | None = None
    reference: str | None = None
    attempt: int = 1


class Processor(Protocol):
    """A payment processor."""

    @property
    def name(self) -> str: ...

    @property
    def modes(self) -> frozenset[Mode]:
        """The modes it takes. A processor that moves no money does not take `live`."""
        ...

    async def execute(self, instruction: Instruction) -> ProcessorResult:
        """The result of the instruction. An instruction that was sent before under its key is not
        done again: its first result is returned.

        Raises ProcessorUnavailable if it is certain that this call did not reach the processor, and
        ProcessorTimeout if it may have.
        """
        ...

    async def balance(self, payment_id: str) -> int | None:
        """Captured less refunded, in minor units, by the processor's own books.

        None if the processor does not know the payment.
        """
        ...
