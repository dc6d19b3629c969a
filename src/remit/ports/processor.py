"""The port to a payment processor, the outside party that moves money."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Protocol

import msgspec

from remit.domain.caller import Mode
from remit.domain.card import Card
from remit.domain.operation import OperationKind, ProcessorResult, Received, Reversed


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a processor takes, and how long it keeps an idempotency key.

    A processor that moves no money does not take the mode `live`. Without `currencies` it takes
    each. One without `multi_capture` captures an authorization once. Without a `key_lifetime` keys
    are kept for ever. Operations of the kinds in `prepares` have two phases: they are an object at
    the processor before money can move.
    """

    modes: frozenset[Mode]
    currencies: frozenset[str] | None = None
    multi_capture: bool = True
    key_lifetime: timedelta | None = None
    prepares: frozenset[OperationKind] = frozenset()


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """One operation that a processor is called with.

    `key` is its idempotency key: under one key there is one instruction, for ever, and it can be
    sent again. `reference` is the processor's own name for the operation, if it has one, and else
    for the payment, once it is known. `attempt` counts how often the instruction was sent, this
    time included. It is for logs and simulators: a processor is not told.
    """

    key: str
    operation: OperationKind
    payment_id: str
    merchant_id: str
    mode: Mode
    amount_minor: int
    currency: str
    final: bool = True
    card: Card | None = None
    reference: str | None = None
    attempt: int = 1


class ProcessorBalance(msgspec.Struct, frozen=True, kw_only=True):
    """What a processor has of one payment, in minor units: captured less refunded, and authorized
    and neither captured nor released.
    """

    held_minor: int
    authorized_minor: int = 0


class SettlementLine(msgspec.Struct, frozen=True, kw_only=True):
    """Money that a processor took or gave back, by its own books. `operation_id` is the key of the
    instruction, as far as the books have it, and `reference` the processor's own name.
    """

    operation: OperationKind
    amount_minor: int
    currency: str | None
    reference: str
    operation_id: str | None = None


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What a processor says by itself of one operation. It can come late, twice and out of order.

    `event_id` is the processor's own name for the notice.
    """

    event_id: str
    operation_id: str
    result: ProcessorResult | Reversed


class Processor(Protocol):
    """A payment processor. An adapter derives from this class and has `execute` at least.

    Each call raises ProcessorUnavailable if it is certain that it did not reach the processor, and
    ProcessorTimeout if it may have. One that is canceled does not go on by itself.
    """

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def prepare(self, instruction: Instruction) -> str:
        """The processor's reference of the operation, which is ready there and moves nothing yet.

        It is committed before `execute`, which does what this reference names, once. Called for the
        kinds in `prepares` alone.
        """
        raise AssertionError("this processor prepares nothing")

    async def execute(self, instruction: Instruction) -> ProcessorResult | Received:
        """The result of the instruction. An instruction that was sent before under its key is not
        done again, for as long as keys are kept: its first result is returned.
        """
        ...

    async def read(self, instruction: Instruction) -> ProcessorResult | None:
        """What became of the instruction, by the processor's own books.

        None if that is not known: the instruction may still arrive.
        """
        return None

    async def fence(self, instruction: Instruction) -> ProcessorResult | None:
        """Cancels what was prepared, so that the instruction is never done however late it arrives.

        NotDone once the processor says so, or the result that the instruction has. None if neither
        is known, or if there is nothing that can be canceled.
        """
        return None

    async def balance(self, payment_id: str) -> ProcessorBalance | None:
        """What the processor has of the payment, by its own books. None if it does not know it."""
        ...

    def settlement(self) -> AsyncIterator[SettlementLine]:
        """All money that moved, by the processor's own books, in no particular order."""
        ...
