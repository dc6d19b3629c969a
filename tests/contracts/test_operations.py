"""Every store keeps operations at a processor, and finds those that are open.

Each parameter of the fixture `app` is a store under this contract.
"""

from datetime import timedelta

from remit.domain.change import Change, Conflict
from remit.domain.operation import Approved, OperationState
from remit.ports.app import App
from tests.contracts.changes import (
    AT,
    a_payment,
    a_whole_operation,
    an_entry,
    new,
    next_version,
)


async def test_open_operations_are_found_and_those_that_a_person_decides(app: App) -> None:
    payment = a_payment(app)
    waiting = a_whole_operation(app, payment)
    undecided = a_whole_operation(app, payment, due_at=AT + timedelta(days=36_500))
    other = a_whole_operation(app, a_payment(app), needs_decision=False)
    ended = a_whole_operation(app, payment, state=OperationState.NOT_DONE, due_at=None)
    for operation in (waiting, undecided, other, ended):
        assert await app.store.commit(Change(operation=operation, audit=())) is None
    reader = app.database.reader

    async def found(limit: int, *, needs_decision: bool) -> set[str]:
        operations = await reader.open_operations(limit, needs_decision=needs_decision)
        return {operation.id for operation in operations}

    assert await found(10, needs_decision=False) == {waiting.id, undecided.id, other.id}
    assert await found(10, needs_decision=True) == {waiting.id, undecided.id}
    assert len(await found(2, needs_decision=False)) == 2
    assert await reader.operations(payment.id) == [waiting, undecided, ended]
    assert await reader.operations(app.new_id()) == []


async def test_an_operation_and_what_compensates_it_are_written_together_or_not(app: App) -> None:
    payment = a_payment(app)
    operation = a_whole_operation(app, payment)
    await app.store.commit(new(app, payment=payment, operation=operation))
    first, second = (a_whole_operation(app, payment, compensates=operation.id) for _ in range(2))
    contradicted = next_version(operation, late_result=Approved("late"))
    change = Change(operation=contradicted, follow_up=first, audit=())
    assert await app.store.commit(change) is None
    assert await app.store.operation(operation.id) == contradicted
    assert await app.store.operation(first.id) == first
    stale = Change(operation=contradicted, follow_up=second, audit=())
    assert await app.store.commit(stale) is Conflict.STALE
    assert await app.store.operation(second.id) is None
    taken = Change(operation=next_version(contradicted), follow_up=first, audit=())
    assert await app.store.commit(taken) is Conflict.STALE
    assert await app.store.operation(operation.id) == contradicted


async def test_an_operation_changes_like_a_payment(app: App) -> None:
    payment = a_payment(app)
    operation = a_whole_operation(app, payment)
    await app.store.commit(new(app, payment=payment, operation=operation))
    ended = next_version(operation, state=OperationState.DECLINED, due_at=None)
    assert await app.store.commit(Change(operation=ended, audit=())) is None
    late = next_version(operation, state=OperationState.SUCCEEDED)
    stale = Change(operation=late, payment=next_version(payment), audit=(an_entry(app, payment),))
    assert await app.store.commit(stale) is Conflict.STALE
    unknown = Change(operation=a_whole_operation(app, payment, version=2), audit=())
    assert await app.store.commit(unknown) is Conflict.STALE
    assert await app.store.operation(operation.id) == ended
    assert await app.store.payment(payment.id) == payment
    assert len(await app.database.reader.history(payment.id)) == 1
