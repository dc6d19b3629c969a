"""Tables of the command line: whole at every width, and every value whole in them."""

from datetime import UTC, datetime
from io import StringIO
from textwrap import dedent

import pytest
from msgspec.structs import replace
from rich.console import Console

from remit.domain.payment import Payment, State
from remit.entrypoints.cli.payment_views import (
    HISTORY_COLUMNS,
    LIST_COLUMNS,
    listed_row,
    payment_fields,
)
from remit.entrypoints.cli.terminal import number, print_table, prose, state, value
from remit.entrypoints.cli.terminal.table import Column, table_lines

FIRST = "0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e"
SECOND = "0197f2d4-9b62-7d4f-8e1c-6a7b8c9d0e1f"
AT = datetime(2026, 11, 24, 9, 41, 2, tzinfo=UTC)

PAYMENT = Payment(
    id=FIRST,
    merchant_id="acme",
    mode="test",
    amount_minor=125_000,
    currency="USD",
    created_at=AT,
    fingerprint="",
    state=State.CAPTURED,
    captured_minor=125_000,
    refunded_minor=4_000,
    reference="order-2026-1001",
)
DECLINED = Payment(
    id=SECOND,
    merchant_id="example",
    mode="test",
    amount_minor=500,
    currency="JPY",
    created_at=AT,
    fingerprint="",
    state=State.DECLINED,
)
FAILED_COLUMNS = (
    value("message"),
    state("state"),
    value("step"),
    number("tries"),
    value("payment"),
    prose("last error"),
)
FAILED_ROWS = (
    (FIRST, "dead", "resolve", "5", SECOND, "The processor did not answer in ten seconds, again."),
    (SECOND, "retrying", "process", "12", FIRST, "Unavailable"),
)
HISTORY_ROWS = (
    ("2026-11-24 09:41:02", "validate", "accepted", "validated", "", "", f"key:{FIRST}"),
    ("2026-11-24 09:41:03", "process", "refused", "", "", "payment_invalid_state", "operator"),
)


def drawn(columns: tuple[Column, ...], rows: tuple[tuple[str, ...], ...], width: int | None) -> str:
    return "\n".join(line.plain for line in table_lines(columns, rows, width)) + "\n"


def text(expected: str) -> str:
    return dedent(expected).lstrip("\n")


PAYMENTS = {
    80: """
        payment                               status          amount   refunded
          merchant  reference        created (UTC)
        0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e  processed  1250.00 USD  40.00 USD
          acme      order-2026-1001  2026-11-24 09:41:02
        0197f2d4-9b62-7d4f-8e1c-6a7b8c9d0e1f  declined       500 JPY
          example                    2026-11-24 09:41:02
        """,
    100: """
        payment                               status          amount   refunded  merchant  reference
          created (UTC)
        0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e  processed  1250.00 USD  40.00 USD  acme      order-2026-1001
          2026-11-24 09:41:02
        0197f2d4-9b62-7d4f-8e1c-6a7b8c9d0e1f  declined       500 JPY             example
          2026-11-24 09:41:02
        """,  # noqa: E501
    160: """
        payment                               status          amount   refunded  merchant  reference        created (UTC)
        0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e  processed  1250.00 USD  40.00 USD  acme      order-2026-1001  2026-11-24 09:41:02
        0197f2d4-9b62-7d4f-8e1c-6a7b8c9d0e1f  declined       500 JPY             example                    2026-11-24 09:41:02
        """,  # noqa: E501
}
FAILED = {
    80: """
        message                               state     step     tries
          payment                               last error
        0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e  dead      resolve      5
          0197f2d4-9b62-7d4f-8e1c-6a7b8c9d0e1f  The processor did not answer in ten
                                                seconds, again.
        0197f2d4-9b62-7d4f-8e1c-6a7b8c9d0e1f  retrying  process     12
          0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e  Unavailable
        """,
    100: """
        message                               state     step     tries  payment
          last error
        0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e  dead      resolve      5  0197f2d4-9b62-7d4f-8e1c-6a7b8c9d0e1f
          The processor did not answer in ten seconds, again.
        0197f2d4-9b62-7d4f-8e1c-6a7b8c9d0e1f  retrying  process     12  0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e
          Unavailable
        """,  # noqa: E501
    160: """
        message                               state     step     tries  payment                               last error
        0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e  dead      resolve      5  0197f2d4-9b62-7d4f-8e1c-6a7b8c9d0e1f  The processor did not answer in ten seconds, again.
        0197f2d4-9b62-7d4f-8e1c-6a7b8c9d0e1f  retrying  process     12  0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e  Unavailable
        """,  # noqa: E501
}
HISTORY = {
    80: """
        at (UTC)             action    outcome   status     code
          by
        2026-11-24 09:41:02  validate  accepted  validated
          key:0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e
        2026-11-24 09:41:03  process   refused              payment_invalid_state
          operator
        """,
    100: """
        at (UTC)             action    outcome   status     code
          by
        2026-11-24 09:41:02  validate  accepted  validated
          key:0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e
        2026-11-24 09:41:03  process   refused              payment_invalid_state
          operator
        """,
    160: """
        at (UTC)             action    outcome   status     code                   by
        2026-11-24 09:41:02  validate  accepted  validated                         key:0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e
        2026-11-24 09:41:03  process   refused              payment_invalid_state  operator
        """,  # noqa: E501
}


@pytest.mark.parametrize("width", PAYMENTS)
def test_payments_are_listed_whole(width: int) -> None:
    rows = (listed_row(PAYMENT), listed_row(DECLINED))
    assert drawn(LIST_COLUMNS, rows, width) == text(PAYMENTS[width])


@pytest.mark.parametrize("width", FAILED)
def test_an_error_wraps_by_words_and_an_identifier_never(width: int) -> None:
    assert drawn(FAILED_COLUMNS, FAILED_ROWS, width) == text(FAILED[width])


@pytest.mark.parametrize("width", HISTORY)
def test_a_history_leaves_out_a_column_without_a_word(width: int) -> None:
    assert drawn(HISTORY_COLUMNS, HISTORY_ROWS, width) == text(HISTORY[width])


def test_without_a_terminal_each_row_is_one_line_with_every_column() -> None:
    rows = (listed_row(DECLINED),)
    assert drawn(LIST_COLUMNS, rows, None).splitlines() == [
        "payment                               status     amount  refunded  merchant  reference"
        "  created (UTC)",
        f"{SECOND}  declined  500 JPY            example              2026-11-24 09:41:02",
    ]


def test_a_value_wider_than_the_terminal_is_not_cut() -> None:
    address = "https://" + "very-" * 20 + "long.example"
    rows = (("notification_topic", address), ("table", "transactions-dev"))
    assert drawn((value("output"), prose("value")), rows, 80) == (
        f"output              value\nnotification_topic  {address}\n"
        "table               transactions-dev\n"
    )


def test_wide_characters_keep_the_columns_straight() -> None:
    rows = (("東京", "1"), ("ab", "22"))
    assert drawn((value("label"), number("tries")), rows, 80) == (
        "label  tries\n東京       1\nab        22\n"
    )


def test_a_value_cannot_command_the_terminal() -> None:
    rows = (("order-1\x1b[2J\n\u202eoops",),)
    assert drawn((value("reference"),), rows, 80) == ("reference\norder-1\\x1b[2J\\n\\u202eoops\n")


@pytest.mark.parametrize(
    ("refunded_minor", "status"),
    [
        (0, "processed"),
        (4_000, "processed, 40.00 USD of it refunded"),
        (125_000, "processed, refunded in full"),
    ],
)
def test_a_payment_says_how_much_of_it_is_refunded(refunded_minor: int, status: str) -> None:
    fields = dict(payment_fields(replace(PAYMENT, refunded_minor=refunded_minor)))
    assert fields == {
        "payment": FIRST,
        "status": status,
        "amount": "1250.00 USD",
        "merchant": "acme (test)",
        "reference": "order-2026-1001",
        "created": "2026-11-24 09:41:02 UTC",
    }


def test_a_state_has_its_colour_in_a_terminal_and_none_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    columns, rows = (state("status"), number("amount")), [("processed", "1.00 USD")]
    print_table(columns, rows, empty="")
    assert capsys.readouterr().out == "status       amount\nprocessed  1.00 USD\n"
    shown = StringIO()
    console = Console(file=shown, force_terminal=True, width=80, color_system="standard")
    for line in table_lines(columns, rows, 80):
        console.print(line)
    assert "\x1b[32mprocessed" in shown.getvalue()


def test_an_empty_list_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(LIST_COLUMNS, [], empty="No payments yet: take one with `remit pay`.")
    assert capsys.readouterr().out == "No payments yet: take one with `remit pay`.\n"
