"""An operation at a processor, as the command line shows it and as its JSON has it."""

from datetime import datetime
from typing import Any

import msgspec

from remit.domain.money import major_units
from remit.domain.operation import (
    Approved,
    Declined,
    NotDone,
    Operation,
    OperationKind,
    OperationState,
    ProcessorResult,
    Proposal,
    Reversed,
)
from remit.entrypoints.cli.terminal import instant, number, prose, state, value

FIELD_COLUMNS = (value("field"), prose("value"))
OPERATION_COLUMNS = (
    value("operation"),
    value("kind"),
    state("state"),
    number("amount"),
    value("payment"),
    value("processor"),
    value("created (UTC)"),
    number("attempts"),
    prose("waits for"),
)


class OperationView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation at a processor. The amount is in major units."""

    operation_id: str
    kind: OperationKind
    state: OperationState
    amount: str
    currency: str
    merchant: str
    mode: str
    payment_id: str
    refund_id: str | None = None
    compensates: str | None = None
    processor: str
    reference: str | None = None
    created_at: datetime
    sent_at: datetime | None = None
    attempts: int
    is_received: bool = False
    action_expires_at: datetime | None = None
    next_attempt_at: datetime | None = None
    needs_decision: bool = False
    proposal: Proposal | None = None
    result: ProcessorResult | None = None
    late_result: ProcessorResult | None = None
    reversal: Reversed | None = None


def operation_view(operation: Operation) -> OperationView:
    return OperationView(
        operation_id=operation.id,
        kind=operation.kind,
        state=operation.state,
        amount=major_units(operation.amount_minor, operation.currency),
        currency=operation.currency,
        merchant=operation.caller.merchant_id,
        mode=operation.caller.mode,
        payment_id=operation.payment_id,
        refund_id=operation.refund_id,
        compensates=operation.compensates,
        processor=operation.processor,
        reference=operation.reference,
        created_at=operation.created_at,
        sent_at=operation.sent_at,
        attempts=operation.attempts,
        is_received=operation.is_received,
        action_expires_at=operation.action_expires_at,
        next_attempt_at=operation.due_at,
        needs_decision=operation.needs_decision,
        proposal=operation.proposal,
        result=operation.result,
        late_result=operation.late_result,
        reversal=operation.reversal,
    )


def next_steps(view: OperationView) -> list[str]:
    """What a person can do about the operation, in a few lines."""
    if view.late_result is not None:
        return [
            f"The processor said {in_words(view.late_result)} after this had ended. What it did "
            "too late is in the suspense account, and is given back where that is possible:",
            f"  remit operations list --payment {view.payment_id}",
        ]
    if view.state not in (OperationState.QUEUED, OperationState.SENT):
        return ["It has ended: there is nothing to do."]
    if not view.needs_decision:
        return [f"It ends by itself. It is taken up again at {instant(view.next_attempt_at)}."]
    decide = f"  remit operations decide {view.operation_id}"
    if view.proposal is not None:
        return [
            f"{view.proposal.by} says {in_words(view.proposal.result)}. Find it at the processor "
            "yourself. If you find the same, say so:",
            f"{decide} {_arguments(view.proposal.result)}",
        ]
    key = view.reference or view.operation_id
    return [
        f"Find {key} in the records of the processor {view.processor}, and say what became of it. "
        "A second person has to say the same.",
        f"{decide} approved --reference REFERENCE",
        f"{decide} declined --code CODE",
        f"{decide} not-done",
    ]


def in_words(result: ProcessorResult) -> str:
    match result:
        case Approved(reference):
            return f"approved as {reference}"
        case Declined(code):
            return f"declined with {code}"
        case NotDone():
            return "not done"


def _arguments(result: ProcessorResult) -> str:
    match result:
        case Approved(reference):
            return f"approved --reference {reference}"
        case Declined(code):
            return f"declined --code {code}"
        case NotDone():
            return "not-done"


def operation_row(view: OperationView) -> tuple[str, ...]:
    return (
        view.operation_id,
        view.kind,
        view.state,
        f"{view.amount} {view.currency}",
        view.payment_id,
        view.processor,
        instant(view.created_at),
        str(view.attempts),
        _waits_for(view),
    )


def _waits_for(view: OperationView) -> str:
    if view.proposal is not None and view.needs_decision:
        return f"a second person: {view.proposal.by} says {in_words(view.proposal.result)}"
    if view.needs_decision:
        return "a person"
    if view.state is OperationState.QUEUED:
        return "a worker"
    if view.state is OperationState.SENT:
        return "the processor"
    return ""


def operation_fields(view: OperationView) -> list[tuple[str, str]]:
    """What the operation has, in the order in which it came to have it."""
    shown: list[tuple[str, str]] = []
    for name in view.__struct_fields__:
        found: Any = getattr(view, name)
        match found:
            case None | False:
                continue
            case datetime():
                text = f"{instant(found)} UTC"
            case Approved() | Declined() | NotDone():
                text = in_words(found)
            case Proposal(by, proposed):
                text = f"{in_words(proposed)}, says {by}"
            case Reversed(code):
                text = f"failed afterwards with {code}"
            case True:
                text = "yes"
            case _:
                text = str(found)
        shown.append((name.replace("_", " "), text))
    return shown
