"""The command line: `remit …`. Each command says what it did; `--json` where it prints data.

Here the commands are put together, and a mistake becomes one line. What a command does is in the
module of its noun; how the parts of the `local` topology are started, in `local.py`.
"""

import sys

from cyclopts import App as Commands
from cyclopts import CycloptsError

from remit.domain.errors import RemitError
from remit.entrypoints.cli import database, service
from remit.entrypoints.cli.audit import audit
from remit.entrypoints.cli.failed_work import failed
from remit.entrypoints.cli.keys import keys
from remit.entrypoints.cli.operations import operations
from remit.entrypoints.cli.payments import pay, payments
from remit.entrypoints.cli.reconcile import reconcile
from remit.entrypoints.cli.terminal import (
    HELP,
    OPERATE,
    PAYMENTS,
    RUN,
    OutputConsole,
    fail,
    pipe_that_may_close,
)
from remit.settings import SettingsError

cli = Commands(
    name="remit",
    help="Take payments: validate, process, keep the books, and prove it.",
    help_epilogue="`remit COMMAND --help` has an example of each. "
    "A command that works on what is stored says first what it acts on.",
    help_format="markdown",
    version_flags=["--version"],
    console=OutputConsole(),
    print_error=False,
    exit_on_error=False,
)
cli["--help"].group = HELP
cli["--version"].group = HELP

cli.command(service.up, group=RUN, sort_key=1)
cli.command(service.serve_api, name="serve", group=RUN, sort_key=2)
cli.command(service.work, group=RUN, sort_key=3)
cli.command(database.migrate_database, name="migrate", group=RUN, sort_key=4)
cli.command(database.migrate_data, group=RUN, sort_key=5)
cli.command(service.show_settings, name="settings", group=RUN, sort_key=6)
cli.command(service.run_job, name="operate", show=False)
cli.command(pay, group=PAYMENTS, sort_key=1)
cli.command(reconcile, group=OPERATE, sort_key=3)
for noun in (payments, keys, failed, operations, audit):
    cli.command(noun)


def main() -> None:
    """Runs one command. A mistake is one line on standard error and exit status 2 or 1."""
    try:
        with pipe_that_may_close():
            cli()
    except CycloptsError as error:
        fail(str(error).strip().splitlines()[0] + " See `remit --help`.", status=2)
    except SettingsError as error:
        fail(str(error), status=2)
    except RemitError as error:
        fail(error.message)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except aws_errors() as error:
        fail(f"AWS refuses: {error}")


def aws_errors() -> tuple[type[Exception], ...]:
    """What calls to AWS raise, where anything was called: without boto3 nothing can be."""
    if "botocore" not in sys.modules:
        return ()
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError
