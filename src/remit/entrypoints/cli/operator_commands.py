"""The operator's commands: look at what is stored, prove it right, put right what is not.

Each works on the laptop's data, whether `remit up` runs or not, or on REMIT_DATABASE_URL. What is
only needed by one command is imported by it, so that `remit --help` waits for nothing.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import App as Commands
from cyclopts import Parameter

from remit.domain.payment import Payment
from remit.entrypoints.cli.terminal import (
    Json,
    fail,
    print_error,
    print_json,
    print_note,
    print_table,
    progress,
)
from remit.ports.app import App
from remit.settings import read_settings

payments = Commands(name="payments", help="Look at payments, and give money back.")
keys = Commands(name="keys", help="Make, list and revoke API keys.")
failed = Commands(name="failed", help="Look at work that failed, and run it again.")
audit = Commands(name="audit", help="Check the audit trail.")


def _with_app(
    use: Callable[[App], Coroutine[Any, Any, None]], *, of_database: bool = False
) -> None:
    """Runs `use` with the service opened on the laptop's data, or on what the settings name.

    What is `of_database` takes a while where only a task reaches that, which is said first.
    """
    from remit.entrypoints.cli import local

    settings = read_settings(os.environ)
    if of_database and settings.operator_task is not None:
        print_note("a task in the database's network is asked; that takes about a minute")

    async def run() -> None:
        async with local.opened(settings) as app:
            await use(app)

    try:
        asyncio.run(run())
    except local.LocalError as error:
        fail(str(error))


@payments.command(name="list")
def list_payments(
    *,
    merchant: str = "example",
    mode: Literal["test", "live"] = "test",
    status: str | None = None,
    limit: int = 20,
    json: Json = False,
) -> None:
    """List a merchant's payments, newest first.

    Example: `remit payments list --status declined --json`
    """
    from remit.http.two_step.views import STATES_BY_STATUS, payment_view
    from remit.ports.store import PageQuery

    if status is not None and status not in STATES_BY_STATUS:
        fail(f"--status must be one of {', '.join(STATES_BY_STATUS)}.", status=2)
    if not 1 <= limit <= 1000:
        fail("--limit must be from 1 to 1000.", status=2)

    async def use(app: App) -> None:
        state = None if status is None else STATES_BY_STATUS[status]
        query = PageQuery(merchant_id=merchant, mode=mode, limit=limit, state=state)
        views = [payment_view(payment) for payment in await app.database.reader.page(query)]
        if json:
            print_json(views)
            return
        rows = [
            (
                v.transaction_id,
                v.status,
                f"{v.amount} {v.currency}",
                v.payment_id or "",
                f"{v.created_at:%Y-%m-%d %H:%M:%S}",
            )
            for v in views
        ]
        print_table(("payment", "status", "amount", "reference", "created (UTC)"), rows)

    _with_app(use)


@payments.command(name="show")
def show_payment(payment_id: str, /, *, json: Json = False) -> None:
    """Show one payment, its refunds, and everything that was tried with it.

    Example: `remit payments show 0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e`
    """
    from remit.http.two_step.views import payment_view

    async def use(app: App) -> None:
        payment = await _payment(app, payment_id)
        refunds = await app.database.reader.refunds(payment.id)
        history = await app.database.reader.history(payment.id)
        view = payment_view(payment)
        if json:
            print_json({"payment": view, "refunds": refunds, "history": history})
            return
        fields = msgspec.to_builtins(view)
        print_table(("field", "value"), [(name, str(value)) for name, value in fields.items()])
        rows = [
            (f"{e.at:%H:%M:%S.%f}", e.action, e.outcome, e.state or "", e.code or "", e.actor)
            for e in history
        ]
        print_table(("at (UTC)", "action", "outcome", "state", "code", "by"), rows)

    _with_app(use)


@payments.command(name="refund")
def refund_payment(payment_id: str, amount: str | None = None, /, *, json: Json = False) -> None:
    """Give a captured payment back, in full or in part.

    Example: `remit payments refund 0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e 40.00`
    """
    from remit.domain.change import Caller
    from remit.domain.money import major_units, read_amount
    from remit.domain.payment import Refund
    from remit.payments.refund import refund
    from remit.payments.results import Accepted, Rejected

    async def use(app: App) -> None:
        payment = await _payment(app, payment_id)
        wanted = amount and read_amount(
            amount, payment.currency, maximum_minor=payment.amount_minor
        )
        caller = Caller(payment.merchant_id, payment.mode, "operator", app.new_id())
        outcome = await refund(
            app, caller, payment.id, amount_minor=wanted.amount_minor if wanted else None
        )
        match outcome:
            case Accepted(refund=Refund() as made):
                money = f"{major_units(made.amount_minor, made.currency)} {made.currency}"
                print_json(made) if json else print(f"refund {made.id}: {money} {made.state}")
            case Rejected(error):
                raise error
            case _:
                raise AssertionError(f"a refund without a key cannot end as {outcome}")

    _with_app(use)


async def _payment(app: App, payment_id: str) -> Payment:
    from remit.domain.errors import NotFound
    from remit.domain.ids import is_id

    payment = await app.store.payment(payment_id) if is_id(payment_id) else None
    if payment is None:
        raise NotFound("payment")
    return payment


@keys.command(name="create")
def create(
    *,
    merchant: str,
    mode: Literal["test", "live"] = "test",
    label: str = "",
    json: Json = False,
) -> None:
    """Make a key for one merchant. It is shown once: what is stored is its hash.

    Example: `remit keys create --merchant acme --mode live --label checkout`
    """
    from remit.clock_and_ids import new_secret
    from remit.oversight.api_keys import MERCHANT, create_key

    if not MERCHANT.fullmatch(merchant):
        fail(
            "--merchant must be 1 to 63 of a-z, 0-9, - and _, starting with a letter or digit.",
            status=2,
        )
    if len(label) > 100:
        fail("--label must be at most 100 characters.", status=2)

    async def use(app: App) -> None:
        made = await create_key(
            app, merchant_id=merchant, mode=mode, label=label, random=new_secret()
        )
        if json:
            print_json({"id": made.key.id, "key": made.secret, "merchant": merchant, "mode": mode})
        else:
            print(f"{made.secret}\nThis is key {made.key.id}. It is not shown again.")

    _with_app(use, of_database=True)


@keys.command(name="list")
def list_keys(*, json: Json = False) -> None:
    """List the keys there are, by their last four characters.

    Example: `remit keys list`
    """

    async def use(app: App) -> None:
        found = await app.database.api_keys.all()
        if json:
            shown = [msgspec.to_builtins(key) for key in found]
            print_json([{k: v for k, v in key.items() if k != "hash"} for key in shown])
            return
        rows = [
            (
                key.id,
                key.merchant_id,
                key.mode,
                f"…{key.last4}",
                key.label,
                f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "",
            )
            for key in found
        ]
        print_table(("key", "merchant", "mode", "ends in", "label", "revoked (UTC)"), rows)

    _with_app(use, of_database=True)


@keys.command(name="revoke")
def revoke(key_id: str, /) -> None:
    """Revoke a key. It stops working within a second, everywhere.

    Example: `remit keys revoke 0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e`
    """

    async def use(app: App) -> None:
        if not await app.database.api_keys.revoke(key_id, app.clock()):
            fail(f"There is no key {key_id}. See `remit keys list`.")
        print(f"revoked {key_id}")

    _with_app(use, of_database=True)


@failed.command(name="list")
def list_failed(*, limit: int = 100, json: Json = False) -> None:
    """List work that failed: what will be tried again, and the dead letters that will not.

    Example: `remit failed list`
    """

    async def use(app: App) -> None:
        retrying = [("retrying", d) for d in await app.delivery.failed.failed(limit)]
        dead = [("dead", d) for d in await app.delivery.failed.dead_letters(limit)]
        if json:
            print_json([{"state": state, **msgspec.to_builtins(d)} for state, d in retrying + dead])
            return
        rows = [
            (
                d.message.id,
                state,
                d.message.kind,
                d.message.payment_id or "",
                str(d.receives),
                d.last_error or "",
            )
            for state, d in retrying + dead
        ]
        print_table(("message", "state", "step", "payment", "tries", "last error"), rows)

    _with_app(use)


@failed.command(name="redrive")
def redrive(
    message_id: str | None = None, /, *, everything: Annotated[bool, Parameter("--all")] = False
) -> None:
    """Send dead letters back to work, with a fresh count of tries.

    Example: `remit failed redrive --all`
    """
    if (message_id is None) == (not everything):
        fail("Name one message, or say --all. See `remit failed list`.", status=2)

    async def use(app: App) -> None:
        moved = await app.delivery.failed.redrive(message_id)
        if message_id is not None and not moved:
            fail(f"There is no dead letter {message_id}. See `remit failed list`.")
        print(f"{moved} sent back to work")

    _with_app(use)


@audit.command(name="verify")
def verify_audit(*, json: Json = False) -> None:
    """Check that nothing in the sealed audit trail was changed, removed or reordered.

    Example: `remit audit verify`
    """
    from remit.oversight.audit import TamperFound, verify

    async def use(app: App) -> None:
        outcome = await verify(app.audit.bucket)
        if json:
            print_json({"ok": not isinstance(outcome, TamperFound), **msgspec.to_builtins(outcome)})
        elif isinstance(outcome, TamperFound):
            print_error(f"{outcome.key}: {outcome.problem}.")
        else:
            print(f"{outcome.segments} segments, {outcome.entries} entries, unbroken.")
            print(f"head {outcome.head}")
        if isinstance(outcome, TamperFound):
            raise SystemExit(1)

    _with_app(use)


def doctor(*, json: Json = False) -> None:
    """Prove that books, payments, processor and audit trail agree, or name what does not.

    Example: `remit doctor`
    """
    from remit.oversight.reconcile import reconcile

    async def use(app: App) -> None:
        total = await app.database.books.count()
        with progress("payments", total, show=not json) as seen:
            found = [discrepancy async for discrepancy in reconcile(app, seen)]
        if json:
            print_json({"payments": total, "discrepancies": found})
        elif found:
            print_table(
                ("check", "record", "problem"), [(d.check, d.record, d.problem) for d in found]
            )
            print_error(f"{len(found)} do not agree; the first is {found[0].record}.")
        else:
            print(f"{total} payments, the books, the processor and the audit trail agree.")
        if found:
            raise SystemExit(1)

    _with_app(use)
