"""What commands have in common: their help, what they act on, the data folder, steps, logs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
import structlog
from cyclopts import App as Commands
from msgspec.structs import replace
from rich.console import Console

from remit.entrypoints.cli.data_folder import find, service_address
from remit.entrypoints.cli.target import print_target, target
from remit.entrypoints.cli.terminal import Steps
from remit.entrypoints.logs import configure_logs, log_request
from remit.settings import Secret, Settings, SettingsError
from remit_infra.commands.main import cli

TOPIC = "arn:aws:sns:eu-west-1:123456789012:payment-notifications-dev"
PRINT_NO_DATA = {
    *("remit up", "remit serve", "remit work", "remit migrate", "remit operate"),
    *("remit keys revoke", "remit failed redrive"),
    *("remit emulate", "remit destroy", "remit infra diagram"),
}


def commands(of: Commands, name: str) -> Iterator[tuple[str, Commands]]:
    """Every command that does something, by what is typed for it."""
    for part in of:
        if part.startswith("-"):
            continue
        if any(not one.startswith("-") for one in of[part]):
            yield from commands(of[part], f"{name} {part}")
        else:
            yield f"{name} {part}", of[part]


@pytest.mark.parametrize("name", [name for name, _ in commands(cli, "remit")])
def test_every_command_has_an_example_and_json_where_it_prints_data(name: str) -> None:
    shown = StringIO()
    words = name.split()[1:]
    cli([*words, "--help"], console=Console(file=shown, width=200), result_action="return_value")
    text = shown.getvalue()
    assert "Example: " in text
    assert name in text.partition("Example: ")[2].splitlines()[0]
    assert ("--json" in text) == (name not in PRINT_NO_DATA)


def test_help_has_the_commands_in_groups() -> None:
    shown = StringIO()
    cli(["--help"], console=Console(file=shown, width=100), result_action="return_value")
    heads = [line.split()[1] for line in shown.getvalue().splitlines() if line.startswith("╭─")]
    assert heads == ["Run", "Payments", "Operate", "AWS", "Help"]


@pytest.mark.parametrize(
    ("settings", "acts_on"),
    [
        (Settings(data_dir=Path(".remit")), ".remit on this machine"),
        (Settings(data_dir=Path("/var/lib/remit")), "/var/lib/remit on this machine"),
        (
            Settings(database_url=Secret("postgresql://u:hunter2@db.internal:5433/payments")),
            "the database at db.internal:5433/payments",
        ),
        (
            Settings(database_url=Secret("postgresql://postgres@/postgres?host=/run/remit")),
            "the database at /run/remit/postgres",
        ),
        (
            Settings(transactions_table="transactions-dev", notification_topic_arn=TOPIC),
            "the table transactions-dev in account 123456789012, region eu-west-1",
        ),
        (
            Settings(operator_function="payment-operator-dev", notification_topic_arn=TOPIC),
            "payment-operator-dev in account 123456789012, region eu-west-1",
        ),
        (
            Settings(
                operator_task='{"cluster": "payment-cluster-dev"}', notification_topic_arn=TOPIC
            ),
            "payment-cluster-dev in account 123456789012, region eu-west-1",
        ),
        (
            Settings(
                database_secret_arn="arn:aws:secretsmanager:…",  # pragma: allowlist secret
                database_endpoint="payment-db.internal",
                notification_topic_arn=TOPIC,
            ),
            "the database at payment-db.internal/payments in account 123456789012, "
            "region eu-west-1",
        ),
    ],
)
def test_a_command_says_what_it_acts_on_and_no_password(settings: Settings, acts_on: str) -> None:
    assert target(settings) == acts_on


def test_settings_of_another_region_than_the_shells_are_refused() -> None:
    settings = Settings(transactions_table="transactions-dev", notification_topic_arn=TOPIC)
    with pytest.raises(SettingsError, match="of a deployment in eu-west-1, and its region is us-"):
        print_target(settings, {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "eu-west-1"})
    print_target(settings, {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"})
    print_target(settings, {})


def test_the_data_folder_is_found_in_a_folder_above(tmp_path: Path) -> None:
    below = tmp_path / "shop" / "src"
    below.mkdir(parents=True)
    assert find(below) == below / ".remit"
    (tmp_path / "shop" / ".remit").mkdir()
    assert find(below) == tmp_path / "shop" / ".remit"
    (below / ".remit").mkdir()
    assert find(below) == below / ".remit"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_data_folder_of_another_user_is_passed_over(tmp_path: Path) -> None:
    below = tmp_path / "shop"
    below.mkdir()
    (tmp_path / ".remit").mkdir()
    os.chown(tmp_path / ".remit", 12_345, 12_345)
    assert find(below) == below / ".remit"


def test_the_service_is_where_it_was_started_unless_the_environment_says(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, host="::1", port=8000)
    assert service_address(settings, {}) == "http://[::1]:8000"
    (tmp_path / "address").write_text("http://127.0.0.1:9000\n")
    assert service_address(settings, {}) == "http://127.0.0.1:9000"
    elsewhere = replace(settings, port=9001)
    assert service_address(elsewhere, {"PORT": "9001"}) == "http://[::1]:9001"


class Ticking:
    """A clock that goes on by a second and a half with each look."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1.5)
        return self.now


def test_steps_are_lines_with_seconds_where_there_is_no_terminal() -> None:
    shown = StringIO()
    steps = Steps(Ticking(), Console(file=shown, width=80))
    with steps.step("applying the stack") as report:
        report("payment-vpc", 1, 1_200)
    steps.note("image: there already")
    assert shown.getvalue() == (
        "    1.5 s  applying the stack\n"
        "    3.0 s    1/1,200 payment-vpc\n"
        "    4.5 s  image: there already\n"
    )


def test_a_step_stays_on_the_screen_with_its_time_in_a_terminal() -> None:
    shown = StringIO()
    console = Console(file=shown, width=80, force_terminal=True, color_system=None)
    with Steps(Ticking(), console).step("applying the stack") as report:
        report("payment-vpc", 1, 2)
    assert shown.getvalue().splitlines()[-1].endswith("applying the stack  1.5 s")


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("logs_as_before")
def test_a_log_is_a_line_in_a_terminal_and_json_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal, file = Terminal(), StringIO()
    for output in (terminal, file):
        configure_logs("info", output)
        structlog.get_logger().info("relayed", path="/a\x1b[2J", card="4242424242424242")
    seconds, _, rest = terminal.getvalue().partition(" ")
    datetime.strptime(seconds, "%H:%M:%S")
    assert rest.split() == ["[info", "]", "relayed", "path=/a\\x1b[2J", "card=…4242"]
    assert json.loads(file.getvalue()) | {"timestamp": ""} == {
        "event": "relayed",
        "level": "info",
        "path": "/a\x1b[2J",
        "card": "…4242",
        "timestamp": "",
    }


@pytest.mark.usefixtures("logs_as_before")
def test_an_error_in_a_terminal_is_a_traceback_without_local_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    configure_logs("info", terminal)
    secret = "sk_live_kept"  # pragma: allowlist secret
    try:
        raise ValueError("no such card: 4242424242424242")
    except ValueError:
        structlog.get_logger().exception("request_failed")
    lines = terminal.getvalue().splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: no such card: …4242"
    assert secret not in terminal.getvalue()


@pytest.mark.usefixtures("logs_as_before")
def test_a_request_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    configure_logs("info", terminal)
    log_request("POST", "/validate", 200, timedelta(milliseconds=3.21))
    assert terminal.getvalue().split()[1:] == [
        *("[info", "]", "POST", "/validate", "status=200", "ms=3.2"),
    ]
    configure_logs("warning", terminal := Terminal())
    log_request("POST", "/validate", 200, timedelta())
    log_request("POST", "/process", 500, timedelta())
    assert [line.split()[2:5] for line in terminal.getvalue().splitlines()] == [
        ["]", "POST", "/process"]
    ]


@pytest.mark.parametrize("arguments", [("settings",), ("settings", "--json"), ("--version",)])
def test_nothing_is_said_when_the_reader_of_the_output_is_gone(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        ended = subprocess.run(
            [Path(sys.executable).with_name("remit"), *arguments],
            stdout=output,
            stderr=subprocess.PIPE,
            check=False,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
        )
    assert (ended.returncode, ended.stderr) == (141, b"")
