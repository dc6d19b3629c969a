"""The command line: `remit …`. Each command says what it did; `--json` where it prints data.

Only parses and prints. Here are the commands that start things and take a payment; those of an
operator, which work on what is stored, are in `operate.py`; how the parts are started, `local.py`.
"""

import asyncio
import os
from pathlib import Path
from typing import Annotated

from cyclopts import App as Commands
from cyclopts import CycloptsError, Parameter

from remit.domain.errors import RemitError
from remit.entrypoints.cli import operator_commands
from remit.entrypoints.cli.terminal import Json, fail, print_json, print_table
from remit.settings import Settings, SettingsError, read_settings

cli = Commands(
    name="remit",
    help="Take payments: validate, process, keep the books, and prove it.",
    help_format="markdown",
    version_flags=["--version"],
    print_error=False,
    exit_on_error=False,
)
for command in (
    operator_commands.payments,
    operator_commands.keys,
    operator_commands.failed,
    operator_commands.audit,
    operator_commands.doctor,
):
    cli.command(command)


def main() -> None:
    """Runs one command. A mistake is one line on standard error and exit status 2 or 1."""
    try:
        cli()
    except CycloptsError as error:
        fail(str(error).strip().splitlines()[0] + " See `remit --help`.", status=2)
    except SettingsError as error:
        fail(str(error), status=2)
    except RemitError as error:
        fail(error.message)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def settings() -> Settings:
    return read_settings(os.environ)


@cli.command
def up() -> None:
    """Start everything on this machine, take one example payment, and serve until Ctrl-C.

    Example: `PORT=9000 remit up`
    """
    from remit.adapters.postgres.embedded import EmbeddedPostgresError
    from remit.entrypoints import serve
    from remit.entrypoints.cli import example, local
    from remit.entrypoints.logs import configure_logs

    configure_logs(settings().log_level)
    try:
        local.up(settings(), example.show)
    except (local.LocalError, serve.PortTaken, EmbeddedPostgresError) as error:
        fail(str(error))


@cli.command(name="serve")
def serve_api() -> None:
    """Run the API alone, on the database that REMIT_DATABASE_URL names.

    Example: `REMIT_DATABASE_URL=postgresql://… remit serve`
    """
    from remit.assembly.service import assemble
    from remit.entrypoints import serve
    from remit.entrypoints.logs import configure_logs

    chosen = settings()
    configure_logs(chosen.log_level)

    async def main() -> None:
        app = assemble(chosen)
        try:
            await serve.serve(app, serve.stopped())
        finally:
            await app.close()

    try:
        serve.require_free_port(chosen.host, chosen.port)
    except serve.PortTaken as error:
        fail(str(error))
    serve.run(main())


@cli.command
def work(*, with_parent: Annotated[bool, Parameter(show=False)] = False) -> None:
    """Run the worker alone: deliver messages, retry failed work, seal the audit trail.

    Example: `REMIT_DATABASE_URL=postgresql://… remit work`
    """
    from remit.assembly.service import assemble
    from remit.entrypoints.logs import configure_logs
    from remit.entrypoints.serve import run, stopped
    from remit.entrypoints.worker import run_worker

    chosen = settings()
    configure_logs(chosen.log_level)

    async def main() -> None:
        app = assemble(chosen)
        try:
            await run_worker(app, stopped(with_parent=with_parent))
        finally:
            await app.close()

    run(main())


@cli.command(name="migrate")
def migrate_database() -> None:
    """Bring the database that the settings name up to date. Safe to run twice, or at once.

    Example: `REMIT_DATABASE_URL=postgresql://… remit migrate`
    """
    import asyncpg

    from remit.adapters.postgres.connection import connect
    from remit.adapters.postgres.migrations import MigrationError, migrate
    from remit.assembly.postgres import database_login

    async def run() -> list[str]:
        connection = await connect(database_login(settings()))
        try:
            return await migrate(connection)
        finally:
            await connection.close()

    try:
        applied = asyncio.run(run())
    except (MigrationError, OSError, asyncpg.PostgresError) as error:
        fail(f"The database was not migrated: {error}")
    print("\n".join(f"applied {name}" for name in applied) or "already up to date")


@cli.command(name="operate", show=False)
def run_job(job: str, /) -> None:
    """Run one job for an operator whose machine cannot reach the database, and print its answer as
    one line of JSON. A task's command, which `remit keys` asks for.

    Example: `remit operate '{"job": "keys"}'`
    """
    import json

    import asyncpg
    import msgspec

    from remit.adapters.postgres.migrations import MigrationError
    from remit.assembly.service import assemble
    from remit.entrypoints.operator_jobs import OperatorJobs

    async def run() -> object:
        app = assemble(settings())
        try:
            return await OperatorJobs(app)(msgspec.json.decode(job, type=dict[str, object]))
        finally:
            await app.close()

    try:
        answer = asyncio.run(run())
    except (ValueError, msgspec.MsgspecError) as error:
        fail(f"This is no job: {error}")
    except (MigrationError, OSError, asyncpg.PostgresError) as error:
        fail(f"The database did not do it: {error}")
    # Without bytes that a log could cut in two.
    print(json.dumps({"answer": answer}))


@cli.command(name="migrate-data")
def migrate_data(
    *, source: str | None = None, trail: Path | None = None, json: Json = False
) -> None:
    """Copy a development database into the new one that the settings name, without cards and
    customers, and compare the two. Goes on where it was ended.

    Example: `REMIT_DATABASE_URL=postgresql://… remit migrate-data`

    Parameters
    ----------
    source
        The URL of the database to copy. Without it, this laptop's own.
    trail
        The folder of its audit trail. Without it, the one in this laptop's data.
    json
        Print JSON, for pipes.
    """
    import asyncpg

    from remit.adapters.postgres.masked_copy import CopyRefused
    from remit.adapters.postgres.migrations import MigrationError
    from remit.domain.errors import Unavailable
    from remit.entrypoints.cli import local, migrate_data

    try:
        compared = migrate_data.run(source, trail)
    except (CopyRefused, local.LocalError, MigrationError, Unavailable) as error:
        fail(str(error))
    except (OSError, asyncpg.PostgresError) as error:
        fail(f"A database did not answer, and the copy can go on from here: {error}")
    if json:
        print_json(compared)
    else:
        print_table(
            ("what", "source", "target", ""),
            [
                (one.what, _short(one.source), _short(one.target), "" if one.agrees else "differs")
                for one in compared
            ],
        )
    if not all(one.agrees for one in compared):
        raise SystemExit(1)


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


@cli.command(name="settings")
def show_settings(*, json: Json = False) -> None:
    """Show every setting with its variable and its value now.

    Example: `REMIT_LOG_LEVEL=debug remit settings`
    """
    found = settings()
    values = {f"REMIT_{name.upper()}": getattr(found, name) for name in found.__struct_fields__}
    values["REMIT_DATABASE_URL"] = "(set)" if found.database_url else None
    if json:
        print_json({name: str(value) for name, value in values.items() if value is not None})
        return
    rows = [(name, "" if value is None else str(value)) for name, value in values.items()]
    print_table(("variable", "value"), rows)


@cli.command
def pay(
    amount: str = "19.99",
    /,
    *,
    currency: str = "USD",
    card: str = "4242424242424242",
    reference: str | None = None,
    key: str | None = None,
    url: str | None = None,
    json: Json = False,
) -> None:
    """Take one payment through the running service, step by step.

    Example: `remit pay 99.99 --currency EUR --card 4000000000000002`

    Parameters
    ----------
    amount
        In major units: 99.99.
    currency
        An ISO 4217 code.
    card
        A test card's number.
    reference
        Your own name for the payment.
    key
        An API key; without it, the one that `remit up` made.
    url
        Where the service is; without it, on this machine.
    json
        Print JSON, for pipes.
    """
    from remit.entrypoints.cli import example

    try:
        found = settings()
        paid = example.pay(
            example.Service(url or example.address_of(found)),
            amount=amount,
            currency=currency,
            card=card,
            reference=reference,
            key=key or example.own_key(found),
            say=(lambda line: None) if json else print,
        )
    except example.NotPaid as error:
        fail(str(error))
    if json:
        print_json(paid)
