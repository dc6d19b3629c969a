"""`remit audit`: the archived audit trail is checked."""

import msgspec
from cyclopts import App as Commands

from remit.entrypoints.cli.target import run_on_target
from remit.entrypoints.cli.terminal import OPERATE, Json, print_error, print_json
from remit.ports.app import App

audit = Commands(name="audit", help="Check the audit trail.", group=OPERATE, sort_key=4)


@audit.command(name="verify")
def verify_audit(*, json: Json = False) -> None:
    """Check that nothing in the archived audit trail was changed, removed or reordered.

    Acts on this machine's data, or on the deployment whose settings the shell has.

    Example: `remit audit verify`
    """
    from remit.oversight.audit import TamperFound, verify_archived

    async def use(app: App) -> None:
        found = await verify_archived(app)
        if json:
            print_json({"ok": not isinstance(found, TamperFound), **msgspec.to_builtins(found)})
        elif isinstance(found, TamperFound):
            print_error(f"{found.key}: {found.problem}.")
        else:
            print(f"{found.segments} segments, {found.entries} entries, unbroken.")
            print(f"head {found.head}")
        if isinstance(found, TamperFound):
            raise SystemExit(1)

    run_on_target(use)
