"""`remit pay` and `remit payments`: take a payment, look at them, give money back."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import App as Commands
from cyclopts import Parameter

from remit.domain.caller import Caller, KeyScope
from remit.domain.payment import Payment
from remit.entrypoints.cli.data_folder import command_settings, own_key, service_address
from remit.entrypoints.cli.target import operator_name, run_on_target
from remit.entrypoints.cli.terminal import (
    PAYMENTS,
    Json,
    fail,
    print_json,
    print_line,
    print_note,
    print_table,
    prose,
    value,
)
from remit.ports.app import App

payments = Commands(
    name="payments", help="Look at payments, and give money back.", group=PAYMENTS, sort_key=2
)

MOST_LISTED = 1_000
LONGEST_KEY = 255
ANY_AMOUNT_MINOR = 10**15
"""More than can be left of a payment: what is left is for the refund to say."""


@dataclass(frozen=True)
class Order:
    """What `remit pay` buys, and with which card."""

    currency: str = "USD"
    """An ISO 4217 code."""

    card: str = "4242424242424242"
    """A test card's number."""

    reference: str | None = None
    """Your own name for the payment."""


USUAL_ORDER = Order()


def pay(
    amount: str = "19.99",
    /,
    *,
    order: Annotated[Order, Parameter(name="*")] = USUAL_ORDER,
    key: str | None = None,
    url: str | None = None,
    json: Json = False,
) -> None:
    """Take one payment over HTTP, step by step.

    Acts on the service that runs on this machine, or at --url.

    Example: `remit pay 99.99 --currency EUR --card 4000000000000002`

    Parameters
    ----------
    amount
        In major units: 99.99.
    key
        An API key; without it, the one that `remit up` made.
    url
        Where another service is. The key is its own then.
    """
    from remit.entrypoints.cli.example import (
        CardPayment,
        NotPaid,
        ServiceClient,
        WrongAddress,
        take_payment,
    )

    settings = command_settings()
    if url is None and settings.is_in_aws:
        fail("This shell has the settings of a deployment: give its address with --url.", status=2)
    if (key := key or own_key(settings)) is None:
        fail("No API key: give one with --key, or start with `remit up`.")
    address = url or service_address(settings)
    asked = CardPayment(amount, order.currency, order.card, order.reference)
    try:
        with ServiceClient(address) as service:
            print_note(f"acting on the service at {address}")
            paid = take_payment(service, asked, key, (lambda _: None) if json else print_line)
    except WrongAddress as error:
        fail(f"--url: {error}", status=2)
    except NotPaid as error:
        fail(str(error))
    if json:
        print_json(paid)


@payments.command(name="list")
def list_payments(
    *,
    merchant: str | None = None,
    mode: Literal["test", "live"] = "test",
    status: str | None = None,
    limit: int = 20,
    json: Json = False,
) -> None:
    """List payments, newest first, of every merchant or of one.

    Acts on this machine's data, or on the deployment whose settings the shell has.

    Example: `remit payments list --merchant acme --status declined --json`

    Parameters
    ----------
    merchant
        Of this merchant alone.
    mode
        Those taken with test keys, or with live ones.
    status
        Those with this status alone, by its name in the API.
    limit
        How many, from 1 to 1000.
    """
    from remit.entrypoints.cli.payment_views import LIST_COLUMNS, listed_row, listed_view
    from remit.http.two_step.views import STATES_BY_STATUS
    from remit.ports.store import PageQuery

    if status is not None and status not in STATES_BY_STATUS:
        fail(f"--status must be one of {', '.join(STATES_BY_STATUS)}.", status=2)
    if not 1 <= limit <= MOST_LISTED:
        fail(f"--limit must be from 1 to {MOST_LISTED}.", status=2)
    state = None if status is None else STATES_BY_STATUS[status]

    async def use(app: App) -> None:
        if merchant is None:
            found = await app.database.reader.newest(mode, limit=limit, state=state)
        else:
            query = PageQuery(merchant_id=merchant, mode=mode, limit=limit, state=state)
            found = await app.database.reader.page(query)
        if json:
            print_json([listed_view(payment) for payment in found])
            return
        empty = "No payments yet: take one with `remit pay`."
        if merchant or status or mode == "live":
            empty = "No payment is like that."
        print_table(LIST_COLUMNS, [listed_row(payment) for payment in found], empty=empty)

    run_on_target(use)


@payments.command(name="show")
def show_payment(payment_id: str, /, *, json: Json = False) -> None:
    """Show one payment, its refunds, and everything that was tried with it.

    Acts on this machine's data, or on the deployment whose settings the shell has.

    Example: `remit payments show 0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e`
    """
    from remit.entrypoints.cli import payment_views as views

    async def use(app: App) -> None:
        payment = await _payment(app, payment_id)
        refunds = await app.database.reader.refunds(payment.id)
        entries = await app.database.reader.history(payment.id)
        history = [views.history_view(entry) for entry in entries]
        if json:
            shown = [views.refund_view(refund) for refund in refunds]
            print_json(
                {"payment": views.listed_view(payment), "refunds": shown, "history": history}
            )
            return
        print_table((value("field"), prose("value")), views.payment_fields(payment), empty="")
        print_line("")
        print_table(
            views.REFUND_COLUMNS,
            [views.refund_row(refund) for refund in refunds],
            empty="No refunds.",
        )
        print_line("")
        print_table(
            views.HISTORY_COLUMNS,
            [views.history_row(view) for view in history],
            empty="Nothing was tried with it.",
        )

    run_on_target(use)


@payments.command(name="refund")
def refund_payment(
    payment_id: str, amount: str | None = None, /, *, key: str | None = None, json: Json = False
) -> None:
    """Give a processed payment back, in full or in part.

    A command that was interrupted is repeated with the key that it named, and gives nothing back
    twice.

    Acts on this machine's data, or on the deployment whose settings the shell has.

    Example: `remit payments refund 0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e 40.00`

    Parameters
    ----------
    amount
        In major units: 40.00. Without it, all that is left.
    key
        The idempotency key of the first command; without it, a new one.
    """
    from remit.domain.money import read_amount
    from remit.domain.refund import Refund
    from remit.entrypoints.cli.payment_views import refund_view
    from remit.payments.refund import refund
    from remit.payments.results import Accepted, Rejected, Replayed

    if key is not None and not re.fullmatch(rf"[!-~]{{1,{LONGEST_KEY}}}", key):
        fail(f"--key must be 1 to {LONGEST_KEY} printable characters.", status=2)
    settings = command_settings()

    async def use(app: App) -> None:
        payment = await _payment(app, payment_id)
        used = key or app.new_id()
        print_note(f"to repeat this refund and not make another: --key {used}")
        wanted = amount and read_amount(amount, payment.currency, maximum_minor=ANY_AMOUNT_MINOR)
        actor = f"operator:{await operator_name(settings, None)}"
        caller = Caller(payment.merchant_id, payment.mode, actor, app.new_id())
        result = await refund(
            app,
            caller,
            payment.id,
            amount_minor=wanted.amount_minor if wanted else None,
            key=KeyScope(payment.merchant_id, payment.mode, "remit payments refund", used),
        )
        match result:
            case Accepted(refund=Refund() as made) | Replayed(refund=Refund() as made):
                view = refund_view(made)
                if json:
                    print_json(view)
                else:
                    print(f"refund {view.refund_id}: {view.amount} {view.currency} {view.status}")
            case Rejected(error):
                raise error
            case _:
                raise AssertionError(f"a refund cannot end as {result}")

    run_on_target(use)


async def _payment(app: App, payment_id: str) -> Payment:
    from remit.domain.errors import NotFound
    from remit.domain.ids import is_id

    payment = await app.store.payment(payment_id) if is_id(payment_id) else None
    if payment is None:
        raise NotFound("payment")
    return payment
