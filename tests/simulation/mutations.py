"""Faults to plant in the protocol: each is an edit of the service's code that the simulated world
has to notice. Among them are those of the protocol before operations were records.
"""

from typing import NamedTuple


class Edit(NamedTuple):
    """One text of one file of `src/remit`, and what takes its place."""

    file: str
    before: str
    after: str


class Mutation(NamedTuple):
    """A fault, named by what it does, and the edits that plant it."""

    name: str
    edits: tuple[Edit, ...]


OPERATION, PAYMENT, REFUND = "domain/operation.py", "domain/payment.py", "domain/refund.py"
SEND, RESULTS, CLAIMS = (
    "payments/operations.py",
    "payments/operation_results.py",
    "payments/claims.py",
)
STEPS, PROCESS = "payments/steps.py", "payments/process.py"
REPLAY, STORE = "payments/replay.py", "adapters/memory/store.py"
RELAY, SWEEP = "delivery/relay.py", "delivery/sweep.py"


def _one(name: str, file: str, before: str, after: str) -> Mutation:
    return Mutation(name, (Edit(file, before, after),))


MUTATIONS = (
    # What is concluded from silence
    _one(
        "a charge without an answer is taken for one that never happened",
        SEND,
        "    except (ProcessorTimeout, TimeoutError):\n"
        "        return await record_no_answer(app, caller, prepared)",
        "    except (ProcessorTimeout, TimeoutError):\n"
        "        no = ProcessorUnavailable('no answer')\n"
        "        return await record_not_sent(app, caller, prepared, no)",
    ),
    _one(
        "a payment is canceled while its charge is on its way",
        STEPS,
        "if step.kind is OperationKind.VOID and operation.state is OperationState.QUEUED:",
        "if step.kind is OperationKind.VOID:",
    ),
    _one(
        "an operation ends though another process may have sent it",
        OPERATION,
        "        return (self.state, self.attempts, self.processes) == (\n"
        "            OperationState.SENT,\n"
        "            sender.attempts,\n"
        "            1,\n"
        "        )",
        "        return self.state is OperationState.SENT",
    ),
    _one(
        "the processes that may have sent an operation are not counted",
        OPERATION,
        "processes=1 if is_first else self.processes + 1,",
        "processes=1,",
    ),
    _one(
        "a result that comes after the end is dropped",
        RESULTS,
        "        return _contradict(app, caller, claim, result)\n\n    return await",
        "        return None\n\n    return await",
    ),
    _one(
        "what the processor does not know has not happened",
        SEND,
        "    if result is None:\n        return await record_no_answer(app, caller, claim)\n"
        "    if isinstance(result, NotDone):",
        "    if result is None or isinstance(result, NotDone):",
    ),
    _one(
        "each attempt has a key of its own",
        SEND,
        "key=operation.id,",
        "key=f'{operation.id}-{operation.attempts}',",
    ),
    _one(
        "the operations of a payment share a key",
        SEND,
        "key=operation.id,",
        "key=operation.payment_id,",
    ),
    _one(
        "an instruction is sent again after its key was forgotten",
        OPERATION,
        "        if self.sent_at is None or key_lifetime is None:\n            return True",
        "        return True",
    ),
    _one(
        "what was prepared expires without being canceled",
        SEND,
        "await _known(app, processor.fence(instruction))",
        "NotDone()",
    ),
    _one(
        "the reference is not committed before money can move",
        SEND,
        "    if await app.store.commit(Change(operation=prepared, audit=())) is not None:\n"
        "        return None\n    return claim._replace",
        "    return claim._replace",
    ),
    _one(
        "a sent operation expires as a queued one does",
        OPERATION,
        "            self.state is OperationState.QUEUED\n            and self.expires_at",
        "            self.expires_at is not None\n            and self.expires_at",
    ),
    _one(
        "a received operation is taken for done",
        SEND,
        "        return await record_received(app, caller, prepared, result)",
        "        from remit.domain.operation import Approved\n\n"
        "        done = Approved(result.reference)\n"
        "        return await record_result(app, caller, prepared, done)",
    ),
    # What a caller was told
    _one(
        "whoever resolves an operation leaves its key in flight",
        RESULTS,
        "record=key_record(operation, None if is_not_done else after),",
        "record=None,",
    ),
    Mutation(
        "503, and the charge is queued behind its caller's back",
        (
            Edit(
                RESULTS,
                "if not operation.is_promised:",
                "if False:",
            ),
            Edit(
                STEPS,
                "if after.operation.state is OperationState.NOT_DONE:",
                "if after.operation.state in (OperationState.NOT_DONE, OperationState.QUEUED):",
            ),
        ),
    ),
    _one(
        "a card is erased while an operation still needs it",
        SWEEP,
        "    if payment.pending is not None:\n        later",
        "    if False:\n        later",
    ),
    _one(
        "a step is rejected for the payment's state before its key is looked up",
        STEPS,
        "    if (result := await replay_key_of(app, caller, step)) is not None:\n"
        "        return result\n    return await reject(app, caller, step.action, error",
        "    return await reject(app, caller, step.action, error",
    ),
    _one(
        "an operation in progress hides what its key was answered",
        STEPS,
        "    if (result := await replay_key_of(app, caller, step)) is not None:\n"
        "        return result\n    claim = await read_claim",
        "    claim = await read_claim",
    ),
    _one(
        "the processor is not told that more will be captured",
        SEND,
        "        final=operation.final,\n",
        "",
    ),
    _one(
        "to release the rest cancels what was captured",
        PAYMENT,
        "State.CAPTURED if self.captured_minor else State.CANCELED",
        "State.CANCELED",
    ),
    _one(
        "a promised charge that cannot be sent is dropped in silence",
        RESULTS,
        "        after = claim._replace(operation=operation.requeue(due_at=due_at))",
        "        after = claim._replace(operation=operation.end(NotDone()))",
    ),
    _one(
        "a queued operation ends though another process has sent it",
        RESULTS,
        "        if claim.operation.state is not OperationState.QUEUED:",
        "        if not claim.operation.is_open:",
    ),
    _one(
        "an operation that does not end is shown to nobody",
        RESULTS,
        "    elif now - operation.created_at >= allowed:",
        "    elif False:",
    ),
    _one(
        "a step whose commit was not heard of is answered 503",
        "payments/results.py",
        "    except ConnectionLost as error:\n        raise ResultUnknown from error",
        "    except ConnectionLost:\n        raise",
    ),
    _one(
        "a result that could not be recorded is answered 503",
        STEPS,
        "        after = await send(app, caller, claim, card)\n"
        "    except Unavailable as error:\n        raise ResultUnknown from error",
        "        after = await send(app, caller, claim, card)\n"
        "    except ConnectionError:\n        raise",
    ),
    _one(
        "a key is completed though another request has it by now",
        STORE,
        "if use is not KeyUse.CLAIM and stored.operation_id != record.operation_id:",
        "if False:",
    ),
    _one(
        "a replay under a new key is not kept",
        REPLAY,
        "commit(Change(audit=(entry,), record=record))",
        "commit(Change(audit=(entry,)))",
    ),
    _one(
        "a step is answered with whatever its payment has become",
        STEPS,
        "is_next = after.payment.version <= claim.payment.version + 1",
        "is_next = True",
    ),
    _one(
        "a key stays taken though nothing was done",
        RESULTS,
        "record_use=KeyUse.RELEASE if is_not_done else KeyUse.COMPLETE,",
        "record_use=KeyUse.COMPLETE,",
    ),
    _one(
        "what was sent is answered 503 once another process has ended it",
        STEPS,
        "        if is_sent:\n            raise ResultUnknown from error\n",
        "",
    ),
    # Canceled meanwhile
    _one(
        "a remembered cancel is forgotten with the result",
        RESULTS,
        "if canceled_by is None or not isinstance(result, Approved):",
        "if True:",
    ),
    _one(
        "a canceled payment whose charge is declined can be charged again",
        PAYMENT,
        "if pending.canceled_by is not None and not isinstance(result, Approved):",
        "if False:",
    ),
    _one(
        "a promised void is given up when the processor is down",
        CLAIMS,
        "        is_promised=True,\n",
        "",
    ),
    # Late results and late failures
    _one(
        "what was done too late is posted each time it is told",
        RESULTS,
        " or claim.operation.late_result is not None:",
        ":",
    ),
    _one(
        "what was done too late is not given back",
        RESULTS,
        "        compensation = compensation_of(app, caller, claim, result.reference)\n",
        "",
    ),
    _one(
        "what was done too late is owed to the merchant",
        RESULTS,
        "        postings = _postings(app, claim, to_suspense=True)\n        compensation",
        "        postings = _postings(app, claim)\n        compensation",
    ),
    _one(
        "what is given back comes from the merchant",
        PAYMENT,
        "if to_suspense or operation.compensates is not None:",
        "if to_suspense:",
    ),
    _one(
        "a late failure is dropped",
        SEND,
        "        return await record_reversal(app, caller, claim, notice.result)",
        "        return claim",
    ),
    _one(
        "a late failure is not posted",
        RESULTS,
        "        postings = _postings(app, claim, is_reversal=True, to_suspense=is_lost)",
        "        postings = ()",
    ),
    _one(
        "a late failure is posted the wrong way round",
        PAYMENT,
        "    if is_reversal:\n",
        "    if False:\n",
    ),
    _one(
        "a failure that is told before its result is a plain decline",
        RESULTS,
        "        operation = operation.reverse(reversal)\n"
        "        return after._replace(operation=operation), replace(change, operation=operation)",
        "        return after, change",
    ),
    _one(
        "a notice is dropped",
        SEND,
        "    return await record_result(app, caller, claim, notice.result)",
        "    return claim",
    ),
    # Books, amounts and commits
    _one(
        "an approved operation is not posted",
        RESULTS,
        "postings=_postings(app, claim) if isinstance(result, Approved) else (),",
        "postings=(),",
    ),
    _one(
        "a declined operation is posted",
        RESULTS,
        "postings=_postings(app, claim) if isinstance(result, Approved) else (),",
        "postings=_postings(app, claim),",
    ),
    _one(
        "a part is posted as the whole",
        PAYMENT,
        "        money=Money(operation.amount_minor, operation.currency),",
        "        money=Money(payment.amount_minor, operation.currency),",
    ),
    _one(
        "a part is sent as the whole",
        SEND,
        "        amount_minor=operation.amount_minor,\n",
        "        amount_minor=claim.payment.amount_minor,\n",
    ),
    _one(
        "a refund is posted as a charge",
        PAYMENT,
        "            debit, credit = owner, processor",
        "            debit, credit = processor, owner",
    ),
    _one(
        "a failed refund stays reserved",
        RESULTS,
        "            payment = payment.release_refund(operation.amount_minor)\n    else:",
        "            pass\n    else:",
    ),
    _one(
        "a payment is written without a look at its version",
        STORE,
        "if (stored.version if stored else 0) != payment.version - 1:",
        "if False:",
    ),
    _one(
        "an operation is written without a look at its version",
        STORE,
        "if (before.version if before else 0) != operation.version - 1:",
        "if False:",
    ),
    # Everything ends
    _one(
        "nothing that is due is taken up",
        SWEEP,
        "    for operation in operations:\n",
        "    for operation in []:\n",
    ),
    _one(
        "the lease moves together with the due time",
        SWEEP,
        "        postponed = operation.postpone(until=until)",
        "        postponed = operation.wait(until=until)",
    ),
    _one(
        "messages of a topic that is down are marked sent",
        RELAY,
        "                    failures[topic] = error\n                    continue",
        "                    failures[topic] = error",
    ),
    _one(
        "a payment that ends is announced to nobody",
        RESULTS,
        "    messages = [notification(app, payment, refund)] if is_announced else []\n"
        "    if operation.compensates",
        "    messages: list[Message] = []\n    if operation.compensates",
    ),
)
