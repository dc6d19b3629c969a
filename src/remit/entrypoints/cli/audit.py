"""`remit audit`: the archived audit trail is checked."""

import asyncio
from typing import TYPE_CHECKING

import msgspec
from cyclopts import App as Commands

from remit.domain.errors import Unavailable
from remit.entrypoints.cli.target import run_on_target
from remit.entrypoints.cli.terminal import OPERATE, Json, print_error, print_json
from remit.ports.app import App

if TYPE_CHECKING:
    from remit.oversight.audit.verification import TamperFound, VerifiedTrail

VERIFY_TRIES = 3
VERIFY_PAUSE_SECONDS = 2.0

audit = Commands(name="audit", help="Check the audit trail.", group=OPERATE, sort_key=4)


@audit.command(name="verify")
def verify_audit(*, json: Json = False) -> None:
    """Check that nothing in the archived audit trail was changed, removed or reordered.

    Acts on this machine's data, or on the deployment whose settings the shell has.

    Example: `remit audit verify`
    """
    from remit.oversight.audit.verification import TamperFound

    async def use(app: App) -> None:
        found = await verify_trail(app)
        if json:
            print_json({"ok": not isinstance(found, TamperFound), **msgspec.to_builtins(found)})
        elif isinstance(found, TamperFound):
            print_error(f"{found.key}: {found.problem}.")
        else:
            begin = "" if found.first == 1 else f" from number {found.first} on"
            print(f"{found.segments} segments{begin}, {found.entries} entries, unbroken.")
            print(f"head {found.head}")
        if isinstance(found, TamperFound):
            raise SystemExit(1)

    run_on_target(use)


async def verify_trail(app: App) -> "VerifiedTrail | TamperFound":
    """Verifies the bucket against the database, or alone where the database is out of reach.

    The bucket alone does not say whether its last segment is being archived just now. So what is
    found there must be found again after a moment.
    """
    from remit.oversight.audit.verification import VerifiedTrail, verify_archived, verify_bucket

    try:
        return await verify_archived(app)
    except Unavailable:
        for _ in range(VERIFY_TRIES - 1):
            found = await verify_bucket(app)
            if isinstance(found, VerifiedTrail):
                return found
            await asyncio.sleep(VERIFY_PAUSE_SECONDS)
        return await verify_bucket(app)
