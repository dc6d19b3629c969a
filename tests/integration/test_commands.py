"""The command line on a running service: what each command says, to people and to pipes."""

import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service import Service, run_command

COMMANDS = [
    ("up",),
    ("serve",),
    ("work",),
    ("migrate",),
    ("settings",),
    ("pay",),
    ("payments", "list"),
    ("payments", "show"),
    ("payments", "refund"),
    ("keys", "create"),
    ("keys", "list"),
    ("keys", "revoke"),
    ("failed", "list"),
    ("failed", "redrive"),
    ("operations", "list"),
    ("operations", "show"),
    ("operations", "decide"),
    ("audit", "verify"),
    ("reconcile",),
    ("migrate-data",),
]

MISTAKES = [
    (("frobnicate",), 2, 'Unknown command "frobnicate"'),
    (("doctor",), 2, 'Unknown command "doctor"'),
    (("pay", "5", "--url", "foo"), 2, "--url: 'foo' is no address of a service, such as http://"),
    (("payments", "list", "--limit", "lots"), 2, "--limit"),
    (("payments", "list", "--limit", "0"), 2, "--limit must be from 1 to 1000."),
    (("payments", "list", "--status", "paid"), 2, "--status must be one of validated, "),
    (("payments", "list", "--mode", "pretend"), 2, "--mode"),
    (("payments", "show"), 2, "PAYMENT_ID"),
    (("payments", "show", "42"), 1, "No such payment."),
    (("payments", "refund", "42"), 1, "No such payment."),
    (("payments", "refund", "42", "--key", "a b"), 2, "--key must be 1 to 255 printable"),
    (("keys", "create"), 2, "--merchant"),
    (("keys", "create", "--merchant", "No Good"), 2, "--merchant must be 1 to 63 of a-z"),
    (
        ("keys", "create", "--merchant", "acme", "--mode", "live"),
        1,
        "This is a live key, and only the simulated processor is configured, which moves no money",
    ),
    (("keys", "revoke", "42"), 1, "There is no key 42. See `remit keys list`."),
    (("failed", "redrive"), 2, "Name one message, or say --all. See `remit failed list`."),
    (("failed", "redrive", "42"), 1, "There is no dead letter 42. See `remit failed list`."),
    (("operations", "list", "--limit", "0"), 2, "--limit must be from 1 to 1000."),
    (("operations", "list", "--all", "--payment", "42"), 2, "Name a payment, or say --all."),
    (("operations", "list", "--payment", "42"), 1, "No such payment."),
    (("operations", "show", "42"), 1, "No such operation."),
    (("operations", "decide", "42"), 2, "RESULT"),
    (("operations", "decide", "42", "lost"), 2, '"lost"'),
    (("operations", "decide", "42", "not-done"), 1, "No such operation."),
    (("operations", "decide", "42", "approved"), 2, "--reference belongs to approved"),
    (("operations", "decide", "42", "not-done", "--reference", "r"), 2, "--reference belongs to"),
    (("operations", "decide", "42", "approved", "--reference", "a b"), 2, "--reference must be 1"),
    (("operations", "decide", "42", "declined", "--code", "No!"), 2, "--code must be 1 to 64 of"),
    (("operations", "decide", "42", "not-done", "--as", "a b"), 2, "--as must be 1 to 64 letters"),
    (("pay", "lots"), 1, "/validate answered 400: amount must be a number"),
    (("pay", "5", "--currency", "XYZ"), 1, "/validate answered 400: currency must be"),
    (("pay", "5", "--card", "4000000000000002"), 1, "/process answered 402: The card was declined"),
    (("pay", "5", "--key", "sk_test_wrong"), 1, "/validate answered 401: This API key is not"),
]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("commands")]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("commands")
    folder.chmod(0o755)
    with Service(folder) as running:
        running.start()
        yield running
        assert running.stop() == 0


def said(service: Service, *arguments: str) -> str:
    """What a command prints; on standard error it says what it acts on, and nothing else. A refund
    says also how to repeat it.
    """
    ended = service.command(*arguments)
    acts_on = f"the service at {service.url}" if arguments[0] == "pay" else ".remit on this machine"
    notes = ended.stderr.splitlines()
    if arguments[:2] == ("payments", "refund"):
        assert "to repeat this refund" in notes.pop()
    assert (ended.returncode, notes) == (0, [f"acting on {acts_on}"])
    return ended.stdout


def data(service: Service, *arguments: str) -> Any:
    return json.loads(said(service, *arguments, "--json"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example(tmp_path: Path, command: tuple[str, ...]) -> None:
    ended = run_command(*command, "--help", folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Example: " in ended.stdout
    assert f"remit {' '.join(command)}" in ended.stdout


@pytest.mark.parametrize(("arguments", "status", "message"), MISTAKES)
def test_a_mistake_is_one_helpful_line(
    service: Service, arguments: tuple[str, ...], status: int, message: str
) -> None:
    ended = service.command(*arguments)
    said = [line for line in ended.stderr.splitlines() if not line.startswith("acting on ")]
    assert (ended.returncode, len(said)) == (status, 1)
    assert said[0].startswith("remit: ")
    assert message in said[0]


def test_a_setting_that_does_not_exist_is_named(tmp_path: Path) -> None:
    ended = run_command("settings", folder=tmp_path, REMIT_PROT="9000")
    assert ended.returncode == 2
    assert ended.stderr == "remit: REMIT_PROT is not a setting. See `remit settings`.\n"


def test_a_folder_without_data_is_named(tmp_path: Path) -> None:
    ended = run_command("payments", "list", folder=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr == (
        "acting on .remit on this machine\n"
        f"remit: There is no data in {tmp_path / '.remit'} yet. Start with `remit up`.\n"
    )


def test_pay_without_a_service_says_how_to_start_it(tmp_path: Path) -> None:
    ended = run_command("pay", "5", "--key", "sk_test_x", folder=tmp_path, PORT="1")
    assert ended.returncode == 1
    assert ended.stderr == (
        "acting on the service at http://127.0.0.1:1\n"
        "remit: Nothing answers at http://127.0.0.1:1. Start it with `remit up`.\n"
    )


def test_pay_does_not_take_this_machine_for_a_deployment(service: Service) -> None:
    table = {"REMIT_TRANSACTIONS_TABLE": "transactions-dev"}
    ended = run_command("pay", "5", folder=service.data.parent, **table)
    assert (ended.returncode, ended.stderr) == (
        2,
        "remit: This shell has the settings of a deployment: give its address with --url.\n",
    )


def test_pay_says_each_step(service: Service) -> None:
    lines = said(service, "pay", "12.50", "--reference", "order-7").splitlines()
    assert [line.split()[0] for line in lines if not line.startswith((" ", "}"))] == [
        "validated",
        "processed",
    ]
    paid = data(service, "pay", "3")
    assert (paid["status"], paid["amount"]) == ("processed", "3.00")


def test_a_payment_is_listed_shown_and_refunded(service: Service) -> None:
    paid = data(service, "pay", "100")["transaction_id"]
    assert data(service, "payments", "list", "--limit", "1")[0]["transaction_id"] == paid
    assert paid in said(service, "payments", "list")

    assert data(service, "payments", "refund", paid, "60")["amount"] == "60.00"
    for too_much in ("60", "100.01"):
        refused = service.command("payments", "refund", paid, too_much)
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1] == (
            "remit: At most 40.00 USD of this payment is left to refund."
        )
    assert "40.00 USD succeeded" in said(service, "payments", "refund", paid)

    shown = data(service, "payments", "show", paid)
    assert shown["payment"]["amount_refunded"] == "100.00"
    assert [refund["amount"] for refund in shown["refunds"]] == ["60.00", "40.00"]
    assert [(entry["action"], entry["outcome"]) for entry in shown["history"]] == [
        ("validate", "accepted"),
        ("process", "claimed"),
        ("process", "done"),
        ("refund", "claimed"),
        ("refund", "done"),
        ("refund", "refused"),
        ("refund", "refused"),
        ("refund", "claimed"),
        ("refund", "done"),
    ]
    assert "claimed" in said(service, "payments", "show", paid)


def test_a_refund_that_is_repeated_with_its_key_gives_nothing_back_twice(service: Service) -> None:
    paid = data(service, "pay", "100")["transaction_id"]
    first = service.command("payments", "refund", paid, "10", "--json")
    key = first.stderr.split("--key ")[1].split()[0]
    again = service.command("payments", "refund", paid, "10", "--key", key, "--json")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    other = service.command("payments", "refund", paid, "20", "--key", key)
    assert other.returncode == 1
    assert "was first used with a different request" in " ".join(other.stderr.split())
    shown = data(service, "payments", "show", paid)
    assert [refund["amount"] for refund in shown["refunds"]] == ["10.00"]
    refunded = [entry for entry in shown["history"] if entry["action"] == "refund"]
    assert {entry["actor"] for entry in refunded} == {f"operator:{getpass.getuser()}"}


LISTED_IN_TERMINAL = {
    80: (
        "payment                               status       amount  merchant",
        "  reference               created (UTC)",
        "{id}  processed  8.00 USD  example",
        "  order-of-the-year-1001  {created}",
    ),
    100: (
        "payment                               status       amount  merchant  reference",
        "  created (UTC)",
        "{id}  processed  8.00 USD  example   order-of-the-year-1001",
        "  {created}",
    ),
    160: (
        "payment                               status       amount  merchant  reference"
        "               created (UTC)",
        "{id}  processed  8.00 USD  example   order-of-the-year-1001  {created}",
    ),
}


def test_a_list_fits_the_terminal_and_cuts_nothing(service: Service) -> None:
    paid = data(service, "pay", "8", "--reference", "order-of-the-year-1001")
    created = f"{paid['created_at'][:10]} {paid['created_at'][11:19]}"
    for columns, expected in LISTED_IN_TERMINAL.items():
        shown = service.command_in_terminal("payments", "list", "--limit", "1", columns=columns)
        assert shown == [
            line.format(id=paid["transaction_id"], created=created) for line in expected
        ]


def test_a_key_is_shown_once_and_revoked(service: Service) -> None:
    made = data(service, "keys", "create", "--merchant", "acme", "--label", "till")
    assert data(service, "pay", "5", "--key", made["key"])["status"] == "processed"

    listed = said(service, "keys", "list", "--json")
    assert made["key"] not in listed
    kept = next(key for key in json.loads(listed) if key["id"] == made["id"])
    assert (kept["merchant_id"], kept["label"], kept["last4"]) == ("acme", "till", made["key"][-4:])
    assert "hash" not in kept

    assert said(service, "keys", "revoke", made["id"]) == f"revoked {made['id']}\n"
    assert made["id"] in said(service, "keys", "list")


def test_the_books_and_the_audit_trail_are_proven(service: Service) -> None:
    data(service, "pay", "5")
    report = data(service, "reconcile")
    assert report["discrepancies"] == []
    assert report["payments"] >= 1
    assert "agree." in said(service, "reconcile")
    assert data(service, "audit", "verify")["ok"] is True
    assert "unbroken." in said(service, "audit", "verify")


def test_nothing_has_failed(service: Service) -> None:
    assert data(service, "failed", "list") == []
    assert said(service, "failed", "redrive", "--all") == "0 sent back to work\n"


def test_settings_are_shown_without_the_database_password(tmp_path: Path) -> None:
    secret = "postgresql://remit:hunter2@db/remit"  # pragma: allowlist secret
    ended = run_command("settings", "--json", folder=tmp_path, REMIT_DATABASE_URL=secret)
    assert "hunter2" not in ended.stdout
    assert json.loads(ended.stdout)["REMIT_DATABASE_URL"] == "(set)"


def test_commands_work_while_nothing_runs(tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        service.start()
        data(service, "pay", "5")
        assert service.stop() == 0
        assert len(data(service, "payments", "list")) == 2
        assert service.processes() == []
