"""What an operator's command acts on. Each command prints it before it does anything, so that an
operator does not mistake this machine's data for a deployment's, or one deployment for another.
"""

import asyncio
import getpass
import os
import re
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec

from remit.entrypoints.cli.data_folder import command_settings
from remit.entrypoints.cli.terminal import fail, print_note
from remit.ports.app import App
from remit.settings import Settings, SettingsError

TASK_NOTE = "a task in the database's network is asked; that takes about a minute"

PERSON = re.compile(r"[\w.@-]{1,64}")


class JobRunner(Protocol):
    """Runs a job of `entrypoints/operator_jobs.py` where the database can be reached."""

    async def __call__(self, job: str, **arguments: object) -> Any:
        """The job's result, as plain data. Raises RemitError."""
        ...


def run_jobs_on_target(use: Callable[[JobRunner], Coroutine[Any, Any, None]]) -> None:
    """Says what is acted on, and runs `use` with the operator's jobs there: in this process, or in
    the network of a database that only the function or a task reaches.
    """
    from remit.entrypoints.operator_jobs import OperatorJobs

    settings = command_settings()
    if settings.operator_function is None and settings.operator_task is None:
        run_on_target(lambda app: use(OperatorJobs(app).run))
        return
    from remit.assembly.operator import operator_client

    print_target(settings)
    if settings.operator_task is not None:
        print_note(TASK_NOTE)
    asyncio.run(use(operator_client(settings).run))


async def operator_name(settings: Settings, person: str | None) -> str:
    """Who gives this command: who the AWS credentials belong to, or the user of this machine, who
    can say another name there.

    The name is what this machine says. In AWS, CloudTrail has who invoked the function, ran the
    task or wrote to the table.
    """
    if settings.is_in_aws:
        from remit.adapters.aws.client import LazyClient, call

        if person is not None:
            fail(
                "--as is for this machine alone: in AWS the credentials say who you are.", status=2
            )
        identity = await call(LazyClient("sts").get_caller_identity)
        return str(identity["Arn"])
    name = person or getpass.getuser()
    if not PERSON.fullmatch(name):
        fail("--as must be 1 to 64 letters, digits, and any of . _ @ -", status=2)
    return name


def run_on_target(
    use: Callable[[App], Coroutine[Any, Any, None]], *, asks_database: bool = False
) -> None:
    """Says what is acted on, and runs `use` with the service opened on it: the laptop's data,
    whether `remit up` runs or not, or what the settings name.

    What `asks_database` takes a minute where only a task reaches that, which is said first.
    """
    from remit.entrypoints.cli import local

    settings = command_settings()
    print_target(settings)
    if asks_database and settings.operator_task is not None:
        print_note(TASK_NOTE)

    async def run() -> None:
        async with local.opened(settings) as app:
            await use(app)

    try:
        asyncio.run(run())
    except local.LocalError as error:
        fail(str(error))


def print_target(settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
    """Says on standard error what a command acts on. Raises SettingsError where AWS would be asked
    in another region than the settings are of.
    """
    region = _region(settings)
    asked = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if region and asked and region != asked:
        raise SettingsError(
            f"The settings in this shell are of a deployment in {region}, and its region is "
            f"{asked}: export AWS_REGION={region}, or take the other's with "
            '`eval "$(remit outputs … --shell)"`.'
        )
    print_note(f"acting on {target(settings)}")


def target(settings: Settings) -> str:
    """What the settings name, in a few words and without a password."""
    if settings.operator_function is not None:
        return settings.operator_function + _in_account(settings)
    if settings.operator_task is not None:
        return _cluster(settings.operator_task) + _in_account(settings)
    if settings.transactions_table is not None:
        return f"the table {settings.transactions_table}{_in_account(settings)}"
    if settings.database_secret_arn is not None:
        name = f"{settings.database_endpoint}/{settings.database_name}"
        return f"the database at {name}{_in_account(settings)}"
    if settings.database_url is not None:
        return f"the database at {database_at(settings.database_url)}"
    return f"{_folder(settings.data_dir)} on this machine"


def database_at(url: str) -> str:
    """Host, port and database of a URL, without its password. Raises SettingsError."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise SettingsError(f"The URL of the database cannot be read: {error}.") from error
    # A socket's folder stands among the parameters.
    host = parts.hostname or "".join(parse_qs(parts.query).get("host", [])) or "localhost"
    return f"{host}{port}{parts.path}"


def _cluster(task: str) -> str:
    """The cluster whose task is asked."""
    try:
        return str(msgspec.json.decode(task, type=dict[str, Any])["cluster"])
    except (msgspec.DecodeError, KeyError) as error:
        raise SettingsError(f"REMIT_OPERATOR_TASK names no task: {error}.") from error


def _folder(data_dir: Path) -> str:
    inside = data_dir.absolute()
    here = Path.cwd()
    return str(inside.relative_to(here) if inside.is_relative_to(here) else inside)


def _in_account(settings: Settings) -> str:
    """Where in AWS the settings are of, as far as they say it."""
    arn = _arn(settings)
    return "" if arn is None else f" in account {arn[4]}, region {arn[3]}"


def _region(settings: Settings) -> str | None:
    arn = _arn(settings)
    return None if arn is None else arn[3]


def _arn(settings: Settings) -> list[str] | None:
    """The parts of a name that every deployment has: arn, partition, service, region, account."""
    if not settings.is_in_aws or settings.notification_topic_arn is None:
        return None
    parts = settings.notification_topic_arn.split(":")
    return parts if len(parts) == 6 else None
