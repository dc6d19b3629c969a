"""`remit failed`: work that failed is looked at, and run again."""

from typing import Annotated

import msgspec
from cyclopts import App as Commands
from cyclopts import Parameter

from remit.entrypoints.cli.target import run_on_target
from remit.entrypoints.cli.terminal import (
    OPERATE,
    Json,
    fail,
    number,
    print_json,
    print_table,
    prose,
    state,
    value,
)
from remit.ports.app import App

failed = Commands(
    name="failed", help="Look at work that failed, and run it again.", group=OPERATE, sort_key=2
)

MOST_LISTED = 1_000


@failed.command(name="list")
def list_failed(*, limit: int = 100, json: Json = False) -> None:
    """List work that failed: what will be tried again, and the dead letters that will not.

    Acts on this machine's data, or on the deployment whose settings the shell has.

    Example: `remit failed list`

    Parameters
    ----------
    limit
        How many of either kind, from 1 to 1000.
    """
    if not 1 <= limit <= MOST_LISTED:
        fail(f"--limit must be from 1 to {MOST_LISTED}.", status=2)

    async def use(app: App) -> None:
        retrying = [("retrying", d) for d in await app.delivery.failed.failed(limit)]
        dead = [("dead", d) for d in await app.delivery.failed.dead_letters(limit)]
        if json:
            print_json([{"state": word, **msgspec.to_builtins(d)} for word, d in retrying + dead])
            return
        print_table(
            (
                value("message"),
                state("state"),
                value("step"),
                number("tries"),
                value("payment"),
                prose("last error"),
            ),
            [
                (
                    d.message.id,
                    word,
                    d.message.kind,
                    str(d.receives),
                    d.message.payment_id or "",
                    d.last_error or "",
                )
                for word, d in retrying + dead
            ],
            empty="No work has failed.",
        )

    run_on_target(use)


@failed.command(name="redrive")
def redrive(
    message_id: str | None = None, /, *, everything: Annotated[bool, Parameter("--all")] = False
) -> None:
    """Send dead letters back to work, with a fresh count of tries.

    Acts on this machine's data, or on the deployment whose settings the shell has.

    Example: `remit failed redrive --all`

    Parameters
    ----------
    message_id
        The one that `remit failed list` names.
    everything
        All of them.
    """
    if (message_id is None) == (not everything):
        fail("Name one message, or say --all. See `remit failed list`.", status=2)

    async def use(app: App) -> None:
        moved = await app.delivery.failed.redrive(message_id)
        if message_id is not None and not moved:
            fail(f"There is no dead letter {message_id}. See `remit failed list`.")
        print(f"{moved} sent back to work")

    run_on_target(use)
