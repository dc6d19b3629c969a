"""Refunds a captured payment, in full or in part: reserve, call the processor, record the result.

The amount is reserved on the payment in the commit that makes the refund, before the processor is
called. So refunds at once can never reserve more than was captured.
"""

import msgspec

from remit.domain.caller import Caller, KeyScope
from remit.domain.change import Change
from remit.domain.errors import (
    InvalidState,
    NotFound,
    ProcessorUnavailable,
    ResultUnknown,
    Unavailable,
)
from remit.domain.ids import is_id
from remit.domain.operation import OperationKind, OperationState
from remit.payments.claims import MAX_RACES, Claim, key_record, new_operation, new_refund
from remit.payments.operations import send
from remit.payments.replay import replay_key
from remit.payments.results import (
    Accepted,
    Rejected,
    StepResult,
    audit_entry,
    may_be_written,
    reject,
)
from remit.ports.app import App


async def refund(
    app: App,
    caller: Caller,
    payment_id: str,
    *,
    amount_minor: int | None = None,
    key: KeyScope | None = None,
) -> StepResult:
    """Refunds `amount_minor`, or all that is left. The refund is `pending` without a result.

    Raises ResultUnknown if the database fails when the refund may have been made.
    """
    fingerprint = app.vault.fingerprint(msgspec.json.encode((payment_id, amount_minor)))
    for _ in range(MAX_RACES):
        payment = await app.store.payment(payment_id) if is_id(payment_id) else None
        if payment is None or (payment.merchant_id, payment.mode) != (
            caller.merchant_id,
            caller.mode,
        ):
            return await reject(app, caller, "refund", NotFound("payment", param="transaction_id"))
        if key and (result := await replay_key(app, caller, "refund", key, fingerprint)):
            return result
        refund_minor = payment.refundable_minor if amount_minor is None else amount_minor
        try:
            reserved = payment.reserve_refund(refund_minor)
        except InvalidState as error:
            return await reject(app, caller, "refund", error, payment_id=payment.id)
        pending = new_refund(app, payment, refund_minor)
        operation = new_operation(
            app,
            caller,
            payment,
            kind=OperationKind.REFUND,
            action="refund",
            amount_minor=refund_minor,
            refund_id=pending.id,
            scope=key,
            fingerprint=fingerprint,
        )
        claim = Claim(operation, reserved, pending)
        change = Change(
            payment=reserved,
            refund=pending,
            operation=operation,
            audit=(audit_entry(app, caller, "refund", "claimed", reserved, refund=pending),),
            record=key_record(operation),
        )
        with may_be_written():
            conflict = await app.store.commit(change)
        if conflict is not None:
            continue
        try:
            return _result(await send(app, caller, claim, None))
        except Unavailable as error:
            raise ResultUnknown from error
    raise Unavailable("The payment is changing too fast. Try again.")


def _result(claim: Claim) -> StepResult:
    if claim.operation.state is OperationState.NOT_DONE:
        return Rejected(ProcessorUnavailable("The processor cannot be reached. Try again."))
    return Accepted(claim.payment, claim.refund)
