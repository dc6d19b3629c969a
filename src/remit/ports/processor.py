"""The outside party that moves money."""

from typing import Protocol

import msgspec

from remit.domain.card import Card
from remit.domain.payment import Mode, Operation, ProcessorResult


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """What the processor is asked to do. `key` makes asking twice safe."""

    key: str
    operation: Operation
    payment_id: str
    amount_minor: int
    currency: str
    card: Card | None = None
    reference: str | None = None


class Processor(Protocol):
    """The outside party that moves money."""

    @property
    def name(self) -> str: ...

    @property
    def modes(self) -> frozenset[Mode]:
        """Whose payments it takes: a processor that moves no money takes none of a live key."""
        ...

    async def execute(self, instruction: Instruction) -> ProcessorResult:
        """Does the work once per key, or declines it.

        Raises ProcessorUnavailable when nothing was done, ProcessorTimeout when it may have been.
        """
        ...

    async def find(self, key: str) -> ProcessorResult | None:
        """What became of the question asked under `key`; None if it never arrived."""
        ...

    async def balance(self, payment_id: str) -> int | None:
        """Captured less refunded, in minor units, as the processor sees it; None if unknown."""
        ...
