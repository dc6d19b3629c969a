"""`remit up`, `serve`, `work` and `settings`: the service's processes and their settings.

What each command needs is imported by it, so that `remit --help` waits for nothing.
"""

from typing import Annotated

from cyclopts import Parameter

from remit.entrypoints.cli.data_folder import command_settings
from remit.entrypoints.cli.terminal import Json, fail, print_json, print_table, prose, value


def up() -> None:
    """Start everything on this machine, take one example payment, and serve until Ctrl-C.

    The data is in `.remit` of this folder, or of the nearest folder above that has one.

    Example: `PORT=9000 remit up`
    """
    from remit.adapters.postgres.embedded_server import EmbeddedPostgresError
    from remit.entrypoints import serve
    from remit.entrypoints.cli import example, local
    from remit.entrypoints.logs import configure_logs

    settings = command_settings()
    configure_logs(settings.log_level)
    try:
        local.up(settings, example.show)
    except (local.LocalError, serve.PortTaken, EmbeddedPostgresError) as error:
        fail(str(error))


def serve_api() -> None:
    """Run the API alone, on the database that REMIT_DATABASE_URL names.

    Example: `REMIT_DATABASE_URL=postgresql://… remit serve`
    """
    from remit.assembly.service import assemble
    from remit.entrypoints import serve
    from remit.entrypoints.logs import configure_logs

    settings = command_settings()
    configure_logs(settings.log_level)

    async def main() -> None:
        app = assemble(settings)
        try:
            await serve.serve(app, serve.stop_event())
        finally:
            await app.close()

    try:
        serve.require_free_port(settings.host, settings.port)
    except serve.PortTaken as error:
        fail(str(error))
    serve.run(main())


def work(*, with_parent: Annotated[bool, Parameter(show=False)] = False) -> None:
    """Run the worker alone: deliver messages, retry failed work, seal the audit trail.

    Works on the database that REMIT_DATABASE_URL names.

    Example: `REMIT_DATABASE_URL=postgresql://… remit work`
    """
    from remit.assembly.service import assemble
    from remit.entrypoints.logs import configure_logs
    from remit.entrypoints.serve import run, stop_event
    from remit.entrypoints.worker import run_worker

    settings = command_settings()
    configure_logs(settings.log_level)

    async def main() -> None:
        app = assemble(settings)
        try:
            await run_worker(app, stop_event(with_parent=with_parent))
        finally:
            await app.close()

    run(main())


def run_job(job: str, /) -> None:
    """Run one job for an operator whose machine cannot reach the database, and print its result as
    one line of JSON. It is the command of a task that `remit keys` runs.

    Example: `remit operate '{"job": "keys"}'`
    """
    import asyncio
    import json

    import asyncpg
    import msgspec

    from remit.adapters.postgres.migrations import MigrationError
    from remit.assembly.service import assemble
    from remit.entrypoints.operator_jobs import OperatorJobs

    async def run() -> object:
        app = assemble(command_settings())
        try:
            return await OperatorJobs(app)(msgspec.json.decode(job, type=dict[str, object]))
        finally:
            await app.close()

    try:
        result = asyncio.run(run())
    except (ValueError, msgspec.MsgspecError) as error:
        fail(f"This is no job: {error}")
    except (MigrationError, OSError, asyncpg.PostgresError) as error:
        fail(f"The database did not do it: {error}")
    # Only ASCII, which a log does not split within a character.
    print(json.dumps({"result": result}))


def show_settings(*, json: Json = False) -> None:
    """Show every setting with its variable and its value now.

    Shows what a command that is run in this folder has.

    Example: `REMIT_LOG_LEVEL=debug remit settings`
    """
    settings = command_settings()
    values = {
        f"REMIT_{name.upper()}": getattr(settings, name) for name in settings.__struct_fields__
    }
    values["REMIT_DATABASE_URL"] = "(set)" if settings.database_url else None
    if json:
        print_json({name: str(found) for name, found in values.items() if found is not None})
        return
    rows = [(name, "" if found is None else str(found)) for name, found in values.items()]
    print_table((value("variable"), prose("value")), rows, empty="There are no settings.")
