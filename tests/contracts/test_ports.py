"""The database ports beside the store, and the queue: pages, due records, the books, keys, work."""

from datetime import timedelta

from msgspec.structs import replace

from remit.clock_and_ids import new_secret
from remit.domain.change import Change, Topic
from remit.domain.operation import OperationState
from remit.domain.payment import State
from remit.domain.refund import RefundState
from remit.oversight.api_keys import create_key
from remit.ports.api_keys import ApiKey
from remit.ports.app import App
from remit.ports.store import PageQuery
from tests.contracts.changes import (
    AT,
    a_message,
    a_payment,
    a_pending_payment,
    a_refund,
    a_whole_operation,
    an_entry,
    new,
    next_version,
    postings_of,
)

ACME = PageQuery(merchant_id="acme", mode="test", limit=10)


async def test_a_page_lists_the_merchants_own_payments_newest_first(app: App) -> None:
    mine = [a_payment(app, customer_id=f"c{n % 2}", reference=f"r{n}") for n in range(5)]
    others = [a_payment(app, merchant_id="other"), a_payment(app, mode="live")]
    for payment in (*mine, *others):
        await app.store.commit(new(app, payment=payment))
    assert await app.database.reader.page(ACME) == mine[::-1]
    assert await app.database.reader.page(replace(ACME, limit=2)) == mine[:-3:-1]
    assert await app.database.reader.page(replace(ACME, cursor=mine[2].id)) == [mine[1], mine[0]]
    assert await app.database.reader.page(replace(ACME, customer_id="c1")) == [mine[3], mine[1]]
    assert await app.database.reader.page(replace(ACME, reference="r4")) == [mine[4]]
    assert await app.database.reader.page(replace(ACME, state=State.CAPTURED)) == []
    both = replace(ACME, customer_id="c0", state=State.VALIDATED, cursor=mine[4].id, limit=1)
    assert await app.database.reader.page(both) == [mine[2]]
    assert await app.database.reader.page(replace(ACME, merchant_id="unknown")) == []


async def test_the_newest_payments_are_those_of_every_merchant(app: App) -> None:
    # A merchant with a payment has an API key, by which a store may find the merchant.
    for merchant in ("acme", "other"):
        await create_key(app, merchant_id=merchant, mode="test", label="", random=new_secret())
    payments = [a_payment(app, merchant_id=merchant) for merchant in ("acme", "other", "acme")]
    for payment in (*payments, a_payment(app, mode="live")):
        await app.store.commit(new(app, payment=payment))
    assert await app.database.reader.newest("test", limit=10) == payments[::-1]
    assert await app.database.reader.newest("test", limit=2) == [payments[2], payments[1]]
    assert (
        await app.database.reader.newest("test", limit=10, state=State.VALIDATED) == payments[::-1]
    )
    assert await app.database.reader.newest("test", limit=10, state=State.CAPTURED) == []


async def test_only_due_payments_are_found(app: App) -> None:
    due = a_payment(app, due_at=AT)
    later = a_payment(app, due_at=AT + timedelta(seconds=1))
    never = a_payment(app, due_at=None)
    for payment in (due, later, never):
        await app.store.commit(new(app, payment=payment))
    assert await app.database.reader.due(AT - timedelta(microseconds=1), 10) == []
    assert await app.database.reader.due(AT, 10) == [due]
    assert len(await app.database.reader.due(AT + timedelta(days=1), 1)) == 1
    await app.store.commit(Change(payment=next_version(due, due_at=None), audit=()))
    assert await app.database.reader.due(AT, 10) == []


async def test_only_due_operations_are_found(app: App) -> None:
    payment = a_pending_payment(app)
    due, soonest, later, never = (
        a_whole_operation(app, payment, due_at=due_at)
        for due_at in (AT, AT - timedelta(days=1), AT + timedelta(microseconds=1), None)
    )
    for operation in (due, soonest, later, never):
        await app.store.commit(Change(operation=operation, audit=()))
    # A payment that is due is another task.
    await app.store.commit(new(app, payment=payment))
    reader = app.database.reader
    assert await reader.due_operations(AT - timedelta(microseconds=1), 10) == [soonest]
    found = await reader.due_operations(AT, 10)
    assert sorted(found, key=lambda operation: operation.id) == [due, soonest]
    assert len(await reader.due_operations(AT + timedelta(days=1), 1)) == 1
    ended = next_version(due, state=OperationState.DECLINED, due_at=None)
    postponed = next_version(soonest, due_at=AT + timedelta(days=2))
    for operation in (ended, postponed):
        await app.store.commit(Change(operation=operation, audit=()))
    assert await reader.due_operations(AT + timedelta(days=1), 10) == [later]
    found = await reader.due_operations(AT + timedelta(days=2), 10)
    assert sorted(found, key=lambda operation: operation.id) == [postponed, later]
    assert payment in await reader.due(AT + timedelta(days=7), 10)


async def test_refunds_are_listed_oldest_first(app: App) -> None:
    payment = a_pending_payment(app)
    refunds = [a_refund(app, payment) for _ in range(3)]
    await app.store.commit(new(app, payment=payment, refund=refunds[0]))
    for refund in refunds[1:]:
        await app.store.commit(Change(refund=refund, audit=()))
    await app.store.commit(Change(operation=a_whole_operation(app, payment), audit=()))
    assert await app.database.reader.refunds(payment.id) == refunds
    assert await app.database.reader.refunds(app.new_id()) == []


async def test_the_books_hold_each_payment_with_its_sums(app: App) -> None:
    captured = a_pending_payment(app)
    plain = a_payment(app)
    refund = a_refund(app, captured, state=RefundState.SUCCEEDED)
    failed = a_refund(app, captured, state=RefundState.FAILED)
    await app.store.commit(
        new(app, payment=captured, refund=refund, postings=postings_of(app, captured, 60))
    )
    await app.store.commit(Change(refund=failed, audit=(), postings=postings_of(app, captured, 5)))
    await app.store.commit(new(app, payment=plain))
    booked = [
        (found.payment, found.owed_minor, found.refunds_minor)
        async for found in app.database.books.booked_payments()
    ]
    assert sorted(booked, key=lambda item: item[0].id) == [(captured, 65, 10), (plain, 0, 0)]
    assert await app.database.books.count() == 2
    assert (await app.database.books.find_unbalanced(), await app.database.books.find_orphan()) == (
        None,
        None,
    )


async def test_a_payment_without_an_entry_and_a_posting_without_its_payment_are_found(
    app: App,
) -> None:
    unaudited = a_payment(app)
    await app.store.commit(Change(payment=unaudited, audit=()))
    assert await app.database.books.find_orphan() == f"payment {unaudited.id}"
    postings = postings_of(app, a_payment(app), 5)
    await app.store.commit(Change(audit=(an_entry(app, unaudited),), postings=postings))
    assert await app.database.books.find_orphan() == f"posting {postings[0].transaction_id}"


async def test_a_key_is_found_by_its_hash_until_and_after_it_is_revoked(app: App) -> None:
    keys = [
        ApiKey(
            id=app.new_id(),
            hash=str(n) * 64,
            merchant_id="acme",
            mode="live" if n else "test",
            label="für \U0001f511",
            last4="abcd",
            created_at=AT,
        )
        for n in range(2)
    ]
    for key in keys:
        await app.database.api_keys.add(key, "")
    assert await app.database.api_keys.all() == keys
    assert await app.database.api_keys.find("1" * 64) == keys[1]
    assert await app.database.api_keys.find("2" * 64) is None
    assert await app.database.api_keys.revoke(keys[0].id, AT) is True
    assert await app.database.api_keys.revoke(keys[0].id, AT + timedelta(days=1)) is True
    assert await app.database.api_keys.find("0" * 64) == replace(keys[0], revoked_at=AT)
    assert await app.database.api_keys.revoke(app.new_id(), AT) is False
    assert await app.database.api_keys.revoke("no id", AT) is False


async def test_a_message_sent_twice_is_received_once(app: App) -> None:
    message = a_message(app, Topic.WORK)
    await app.delivery.queue.send([message])
    await app.delivery.queue.send([message])
    [received] = await app.delivery.queue.receive(10)
    assert (received.message, received.receives, received.last_error) == (message, 1, None)
    await app.delivery.queue.delete(received)
    assert await app.delivery.queue.receive(10) == []


async def test_a_failed_message_returns_with_its_error_until_it_is_a_dead_letter(app: App) -> None:
    message = a_message(app, Topic.WORK)
    await app.delivery.queue.send([message])
    for receives in range(1, app.settings.work_max_receives + 1):
        [received] = await app.delivery.queue.receive(10)
        assert received.receives == receives
        await app.delivery.queue.retry(received, f"error {receives}")
    assert await app.delivery.queue.receive(10) == []
    assert await app.delivery.failed.failed(10) == []
    [dead] = await app.delivery.failed.dead_letters(10)
    assert await app.delivery.failed.count_dead_letters() == 1
    assert (dead.message, dead.receives, dead.last_error) == (message, 5, "error 5")
    assert await app.delivery.failed.redrive(app.new_id()) == 0
    assert await app.delivery.failed.redrive(message.id) == 1
    assert await app.delivery.failed.dead_letters(10) == []
    [again] = await app.delivery.queue.receive(10)
    assert (again.receives, again.last_error) == (1, None)


async def test_all_dead_letters_are_redriven(app: App) -> None:
    messages = [a_message(app, Topic.WORK) for _ in range(3)]
    await app.delivery.queue.send(messages)
    for _ in range(app.settings.work_max_receives):
        for received in await app.delivery.queue.receive(10):
            await app.delivery.queue.retry(received, "error")
    assert len(await app.delivery.failed.dead_letters(2)) == 2
    assert await app.delivery.failed.redrive(None) == 3
    assert {m.message.id for m in await app.delivery.queue.receive(10)} == {m.id for m in messages}


async def test_messages_are_read_without_those_of_some_topics(app: App) -> None:
    payment = a_payment(app)
    messages = tuple(a_message(app, topic) for topic in Topic for _ in range(3))
    await app.store.commit(Change(audit=(an_entry(app, payment),), messages=messages))
    outbox = app.delivery.outbox
    assert await outbox.pending(10) == list(messages)
    for topic in Topic:
        others = [message for message in messages if message.topic is not topic]
        assert await outbox.pending(10, {topic}) == others
        assert await outbox.pending(2, {topic}) == others[:2]
    assert await outbox.pending(10, set(Topic)) == []
