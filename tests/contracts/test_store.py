"""Every store: it writes all of a change or nothing, and returns the conflict.

Each parameter of the fixture `app` is a store under this contract.
"""

import asyncio
from operator import attrgetter

import pytest
from msgspec.structs import replace

from remit.delivery.relay import relay
from remit.domain.change import Change, Conflict, KeyUse
from remit.domain.ledger import Unbalanced
from remit.domain.payment import State
from remit.domain.refund import RefundState
from remit.ports.app import App
from remit.ports.audit import ArchivedSegment
from tests.contracts.changes import (
    AT,
    BIG,
    a_message,
    a_payment,
    a_pending_payment,
    a_record,
    a_refund,
    a_whole_operation,
    an_entry,
    new,
    next_version,
    postings_of,
)


async def test_a_new_payment_is_found_whole(app: App) -> None:
    payment = a_payment(app)
    assert await app.store.commit(new(app, payment=payment)) is None
    assert await app.store.payment(payment.id) == payment
    bare = a_payment(
        app, customer_id=None, metadata=None, card=None, encrypted_card=None, due_at=None
    )
    assert await app.store.commit(new(app, payment=bare)) is None
    assert await app.store.payment(bare.id) == bare


async def test_a_payment_with_a_pending_operation_is_found_whole(app: App) -> None:
    payment = a_pending_payment(app)
    assert await app.store.commit(new(app, payment=payment)) is None
    assert await app.store.payment(payment.id) == payment
    captured = next_version(
        payment,
        state=State.CAPTURED,
        pending=None,
        next_action=None,
        failure=None,
        encrypted_card=None,
        due_at=None,
        card=None,
        processor="other",
        processor_reference=None,
        processed_at=None,
    )
    assert await app.store.commit(Change(payment=captured, audit=())) is None
    assert await app.store.payment(payment.id) == captured


async def test_every_part_of_a_change_is_written(app: App) -> None:
    payment = a_pending_payment(app)
    refund = a_refund(app, payment)
    entries = (an_entry(app, payment), an_entry(app, payment, refund_id=refund.id))
    messages = (a_message(app), a_message(app))
    operation = a_whole_operation(app, payment)
    record = a_record(
        "k1", payment, refund=refund, operation_id=operation.id, queued=True, response=b"{}"
    )
    change = Change(
        payment=payment,
        refund=refund,
        operation=operation,
        audit=entries,
        postings=postings_of(app, payment, 40),
        messages=messages,
        record=record,
    )
    assert await app.store.commit(change) is None
    assert await app.store.refund(refund.id) == refund
    assert await app.store.operation(operation.id) == operation
    assert await app.store.record(record.scope) == record
    assert tuple(await app.database.reader.history(payment.id)) == entries
    assert tuple(await app.audit.log.unarchived(10)) == entries
    assert tuple(await app.delivery.outbox.pending(10)) == messages
    [booked] = [booked async for booked in app.database.books.booked_payments()]
    assert booked.owed_minor == 40


async def test_an_unknown_id_has_no_record(app: App) -> None:
    assert await app.store.payment(app.new_id()) is None
    assert await app.store.refund(app.new_id()) is None
    assert await app.store.operation(app.new_id()) is None
    assert await app.store.record(a_record().scope) is None
    assert await app.store.payment_by_reference("acme", "test", "order-1") is None


async def test_a_change_of_an_old_version_is_stale(app: App) -> None:
    payment = a_payment(app)
    await app.store.commit(new(app, payment=payment))
    second = next_version(payment, authorized_minor=1)
    assert await app.store.commit(Change(payment=second, audit=())) is None
    other = next_version(payment, authorized_minor=9)
    late = Change(payment=other, audit=(an_entry(app, payment),))
    assert await app.store.commit(late) is Conflict.STALE
    early = Change(payment=replace(payment, version=5), audit=())
    assert await app.store.commit(early) is Conflict.STALE
    unknown = Change(payment=a_payment(app, version=2), audit=())
    assert await app.store.commit(unknown) is Conflict.STALE
    assert await app.store.payment(payment.id) == second
    assert len(await app.database.reader.history(payment.id)) == 1


async def test_a_refund_changes_like_a_payment(app: App) -> None:
    payment = a_pending_payment(app)
    refund = a_refund(app, payment)
    await app.store.commit(new(app, payment=payment, refund=refund))
    ended = next_version(refund, state=RefundState.SUCCEEDED)
    assert await app.store.commit(Change(refund=ended, audit=())) is None
    assert await app.store.commit(Change(refund=ended, audit=())) is Conflict.STALE
    late = next_version(refund, state=RefundState.FAILED)
    assert await app.store.commit(Change(refund=late, audit=())) is Conflict.STALE
    assert await app.store.refund(refund.id) == ended


async def test_what_is_new_and_has_a_known_id_is_stale(app: App) -> None:
    payment = a_pending_payment(app)
    refund, operation = a_refund(app, payment), a_whole_operation(app, payment)
    await app.store.commit(new(app, payment=payment, refund=refund, operation=operation))
    entries = (an_entry(app, payment),)
    for again in (
        Change(payment=a_payment(app, id=payment.id), audit=entries),
        Change(refund=replace(refund, amount_minor=1), audit=entries),
        Change(operation=replace(operation, attempts=9), audit=entries),
    ):
        assert await app.store.commit(again) is Conflict.STALE
    assert await app.store.payment(payment.id) == payment
    assert await app.store.refund(refund.id) == refund
    assert await app.store.operation(operation.id) == operation
    assert len(await app.database.reader.history(payment.id)) == 1


async def test_a_conflict_leaves_nothing_of_its_change(app: App) -> None:
    payment = a_pending_payment(app)
    await app.store.commit(new(app, payment=payment))
    other = a_refund(app, payment)
    operation = a_whole_operation(app, payment)
    conflicting = Change(
        payment=replace(payment, version=9),
        refund=other,
        operation=operation,
        audit=(an_entry(app, payment),),
        postings=postings_of(app, payment, 7),
        messages=(a_message(app),),
        record=a_record("k1"),
    )
    assert await app.store.commit(conflicting) is Conflict.STALE
    assert await app.store.refund(other.id) is None
    assert await app.store.operation(operation.id) is None
    assert await app.store.record(a_record("k1").scope) is None
    assert len(await app.database.reader.history(payment.id)) == 1
    assert await app.delivery.outbox.pending(10) == []
    [examined] = [found async for found in app.database.books.booked_payments()]
    assert examined.owed_minor == 0


async def test_a_reference_is_taken_once_for_each_merchant_and_mode(app: App) -> None:
    first = a_payment(app, reference="order-1")
    assert await app.store.commit(new(app, payment=first)) is None
    again = new(app, payment=a_payment(app, reference="order-1"))
    assert await app.store.commit(again) is Conflict.REFERENCE_TAKEN
    for owner in ({"merchant_id": "other"}, {"mode": "live"}):
        elsewhere = a_payment(app, reference="order-1", **owner)
        assert await app.store.commit(new(app, payment=elsewhere)) is None
    assert await app.store.payment_by_reference("acme", "test", "order-1") == first
    assert await app.store.payment_by_reference("acme", "test", "order-2") is None


async def test_a_key_is_claimed_once_and_then_completed(app: App) -> None:
    payment = a_payment(app)
    claim = a_record("k1", payment_id=payment.id, operation_id="o1")
    assert await app.store.commit(new(app, payment=payment, record=claim)) is None
    second = Change(audit=(), record=a_record("k1", fingerprint="other"))
    assert await app.store.commit(second) is Conflict.KEY_TAKEN
    assert await app.store.record(claim.scope) == claim
    completed = replace(claim, payment=payment)
    done = Change(audit=(), record=completed, record_use=KeyUse.COMPLETE)
    assert await app.store.commit(done) is None
    assert await app.store.record(claim.scope) == completed
    third = Change(audit=(an_entry(app),), record=a_record("k1"))
    assert await app.store.commit(third) is Conflict.KEY_TAKEN


async def test_a_key_that_another_operation_has_by_now_is_left_to_it(app: App) -> None:
    mine, theirs = (a_record("k1", operation_id=name) for name in ("mine", "theirs"))
    assert await app.store.commit(Change(audit=(), record=theirs)) is None
    for use in (KeyUse.COMPLETE, KeyUse.RELEASE):
        payment = a_payment(app)
        operation = a_whole_operation(app, payment)
        late = new(app, payment=payment, operation=operation, record=mine, record_use=use)
        assert await app.store.commit(late) is None
        assert await app.store.payment(payment.id) == payment
        assert await app.store.operation(operation.id) == operation
        assert len(await app.database.reader.history(payment.id)) == 1
        assert await app.store.record(mine.scope) == theirs
        # One that is stale as well leaves nothing.
        stale = replace(late, payment=replace(payment, version=9), audit=(an_entry(app, payment),))
        assert await app.store.commit(stale) is Conflict.STALE
        assert len(await app.database.reader.history(payment.id)) == 1
        assert await app.store.commit(Change(audit=(), record=mine, record_use=use)) is None
        assert await app.store.record(mine.scope) == theirs


async def test_a_key_whose_record_was_deleted_is_completed_all_the_same(app: App) -> None:
    record = a_record("k1", a_payment(app), operation_id="o1")
    done = Change(audit=(), record=record, record_use=KeyUse.COMPLETE)
    assert await app.store.commit(done) is None
    assert await app.store.record(record.scope) == record


async def test_a_released_key_is_free_again(app: App) -> None:
    claim = a_record("k1", operation_id="o1")
    assert await app.store.commit(Change(audit=(), record=claim)) is None
    released = Change(audit=(), record=claim, record_use=KeyUse.RELEASE)
    assert await app.store.commit(released) is None
    assert await app.store.record(claim.scope) is None
    assert await app.store.commit(Change(audit=(), record=claim)) is None


async def test_a_key_of_no_operation_is_completed_and_released_by_none(app: App) -> None:
    claim = a_record("k1")
    assert await app.store.commit(Change(audit=(), record=claim)) is None
    for use in (KeyUse.COMPLETE, KeyUse.RELEASE):
        theirs = a_record("k1", fingerprint="other", operation_id="o1")
        assert await app.store.commit(Change(audit=(), record=theirs, record_use=use)) is None
        assert await app.store.record(claim.scope) == claim
    completed = replace(claim, payment=a_payment(app))
    done = Change(audit=(), record=completed, record_use=KeyUse.COMPLETE)
    assert await app.store.commit(done) is None
    assert await app.store.record(claim.scope) == completed
    released = Change(audit=(), record=claim, record_use=KeyUse.RELEASE)
    for _ in range(2):  # a record that is gone is released all the same
        assert await app.store.commit(released) is None
        assert await app.store.record(claim.scope) is None


async def test_keys_of_other_merchants_modes_and_operations_are_others(app: App) -> None:
    scope = a_record("k1").scope
    for other in (
        scope,
        replace(scope, merchant_id="other"),
        replace(scope, mode="live"),
        replace(scope, operation="POST /validate"),
        replace(scope, key="K1"),
    ):
        record = replace(a_record(), scope=other)
        assert await app.store.commit(Change(audit=(), record=record)) is None


async def test_of_several_conflicts_the_keys_is_returned(app: App) -> None:
    taken = new(app, payment=a_payment(app, reference="r"), record=a_record("k1"))
    assert await app.store.commit(taken) is None
    again = new(app, payment=a_payment(app, reference="r"), record=a_record("k1"))
    assert await app.store.commit(again) is Conflict.KEY_TAKEN


async def test_of_changes_at_once_to_one_version_one_wins(app: App) -> None:
    payment = a_payment(app)
    await app.store.commit(new(app, payment=payment))
    rivals = [next_version(payment, authorized_minor=n) for n in range(50)]
    ends = await asyncio.gather(
        *(app.store.commit(Change(payment=rival, audit=())) for rival in rivals)
    )
    assert sorted(ends, key=str) == [None, *[Conflict.STALE] * 49]
    assert await app.store.payment(payment.id) == rivals[ends.index(None)]


async def test_of_claims_at_once_on_one_key_one_wins(app: App) -> None:
    claims = [a_record("k1", fingerprint=str(n)) for n in range(50)]
    ends = await asyncio.gather(
        *(app.store.commit(Change(audit=(an_entry(app),), record=claim)) for claim in claims)
    )
    assert sorted(ends, key=str) == [None, *[Conflict.KEY_TAKEN] * 49]
    assert await app.store.record(claims[0].scope) == claims[ends.index(None)]
    assert len(await app.audit.log.unarchived(100)) == 1


async def test_changes_that_conflict_do_not_delay_the_others(app: App) -> None:
    known = [a_payment(app, reference=f"r{n}") for n in range(10)]
    for payment in known:
        await app.store.commit(new(app, payment=payment))
    good = [new(app, payment=a_payment(app, reference=f"new{n}")) for n in range(10)]
    stale = [Change(payment=replace(p, version=7), audit=()) for p in known]
    taken = [new(app, payment=a_payment(app, reference=f"r{n}")) for n in range(10)]
    mixed = [change for three in zip(good, stale, taken, strict=True) for change in three]
    ends = await asyncio.gather(*(app.store.commit(change) for change in mixed))
    assert ends == [None, Conflict.STALE, Conflict.REFERENCE_TAKEN] * 10


async def test_lookups_at_once_each_find_their_own(app: App) -> None:
    payments = [a_payment(app) for _ in range(60)]
    await asyncio.gather(*(app.store.commit(new(app, payment=p)) for p in payments))
    missing = [app.new_id() for _ in range(5)]
    found = await asyncio.gather(
        *(app.store.payment(id_) for id_ in [p.id for p in payments] + missing)
    )
    assert found == [*payments, *[None] * 5]


async def test_the_largest_amount_is_kept_exactly(app: App) -> None:
    largest = 2**63 - 1
    payment = a_payment(app, amount_minor=largest)
    await app.store.commit(new(app, payment=payment, postings=postings_of(app, payment, largest)))
    [booked] = [booked async for booked in app.database.books.booked_payments()]
    assert (booked.payment.amount_minor, booked.owed_minor) == (largest, largest)


def test_a_change_whose_postings_do_not_balance_cannot_be_made(in_memory: App) -> None:
    payment = a_payment(in_memory)
    one, _ = postings_of(in_memory, payment, BIG)
    with pytest.raises(Unbalanced):
        Change(audit=(), postings=(one,))


async def test_messages_are_sent_once_in_the_order_of_their_ids(app: App) -> None:
    messages = [a_message(app) for _ in range(5)]
    for message in reversed(messages):
        await app.store.commit(Change(audit=(), messages=(message,)))
    assert await app.delivery.outbox.pending(3) == messages[:3]
    assert await app.delivery.outbox.oldest_created_at() == AT
    await app.delivery.outbox.mark_sent([message.id for message in messages[:2]])
    await app.delivery.outbox.mark_sent([messages[0].id, app.new_id()])
    assert await app.delivery.outbox.pending(10) == messages[2:]
    assert await relay(app) == messages[2:]
    assert (
        await app.delivery.outbox.pending(10),
        await app.delivery.outbox.oldest_created_at(),
    ) == ([], None)


async def test_entries_are_archived_once_and_stay_in_the_history(app: App) -> None:
    payment = a_payment(app)
    entries = [an_entry(app, payment) for _ in range(4)]
    await app.store.commit(Change(payment=payment, audit=tuple(entries)))
    one, two = (ArchivedSegment(number, AT) for number in (1, 2))
    assert await app.database.books.last_segment() is None
    assert await app.audit.log.unarchived(3) == entries[:3]
    await app.audit.log.mark_archived([entry.id for entry in entries[:3]], one)
    assert await app.audit.log.unarchived(10) == entries[3:]
    await app.audit.log.mark_archived([entry.id for entry in entries[:3]], one)
    await app.audit.log.mark_archived([entries[3].id], two)
    assert await app.audit.log.unarchived(10) == []
    assert await app.database.books.last_segment() == two
    assert await app.database.reader.history(payment.id) == entries
    wanted = [entries[3].id, entries[0].id, app.new_id()]
    found = await app.database.books.audit_entries(wanted)
    assert sorted(found, key=attrgetter("id")) == [entries[0], entries[3]]
    assert await app.database.books.audit_entries([]) == []


async def test_archived_entries_that_the_database_lacks_are_written_again(app: App) -> None:
    payment = a_payment(app)
    kept, lost = an_entry(app, payment), an_entry(app, payment)
    await app.store.commit(Change(payment=payment, audit=(kept,)))
    for _ in range(2):
        await app.audit.log.restore([replace(kept, actor="key:another"), lost])
        await app.audit.log.mark_archived([kept.id, lost.id], ArchivedSegment(1, AT))
    assert await app.database.reader.history(payment.id) == [kept, lost]
    assert await app.audit.log.unarchived(10) == []
