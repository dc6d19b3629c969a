"""Decides what became of an operation that does not end by itself: two persons say the same.

A processor that cannot be read, and sends no notice, leaves an operation without a result. A person
finds it in the processor's own books. Since the decision says whether money has moved, a second
person has to find the same.
"""

from remit.domain.caller import Caller
from remit.domain.change import Change
from remit.domain.errors import InvalidState, NotFound, Unavailable
from remit.domain.ids import is_id
from remit.domain.operation import ProcessorResult, Proposal
from remit.payments.claims import MAX_RACES, Claim, read_claim
from remit.payments.operation_results import record_result
from remit.payments.results import audit_entry
from remit.ports.app import App


async def decide(app: App, person: str, operation_id: str, result: ProcessorResult) -> Claim:
    """Records what a person says became of an operation that waits for a decision.

    A first person proposes the result. A second one who says the same ends the operation, and one
    who says otherwise proposes anew. Both are in the audit trail as `operator:` and their name.
    Raises NotFound, InvalidState if the operation needs no decision or if the same person comes
    twice, and Unavailable.
    """
    actor = f"operator:{person}"
    for _ in range(MAX_RACES):
        claim = await read_claim(app, operation_id) if is_id(operation_id) else None
        if claim is None:
            raise NotFound("operation", param="operation_id")
        operation, payment = claim.operation, claim.payment
        caller = Caller(payment.merchant_id, payment.mode, actor, app.new_id())
        proposal = operation.proposal
        if proposal is not None and operation.is_open and proposal.result == result:
            if proposal.by == actor:
                raise InvalidState("You proposed this: a second person has to confirm it.")
            return await record_result(app, caller, claim, result)
        after = claim._replace(operation=operation.propose(Proposal(actor, result)))
        entry = audit_entry(app, caller, "decide", "proposed", payment, claim.refund)
        change = Change(operation=after.operation, audit=(entry,))
        if await app.store.commit(change) is None:
            return after
    raise Unavailable("The operation is changing too fast. Try again.")
