"""`remit keys`: API keys are made, listed and revoked."""

from typing import Literal

import msgspec
from cyclopts import App as Commands

from remit.entrypoints.cli.target import run_on_target
from remit.entrypoints.cli.terminal import (
    OPERATE,
    Json,
    fail,
    print_json,
    print_table,
    prose,
    state,
    value,
)
from remit.ports.app import App

keys = Commands(name="keys", help="Make, list and revoke API keys.", group=OPERATE, sort_key=1)

LONGEST_LABEL = 100


@keys.command(name="create")
def create(
    *,
    merchant: str,
    mode: Literal["test", "live"] = "test",
    label: str = "",
    json: Json = False,
) -> None:
    """Make a key for one merchant. It is shown once: what is stored is its hash.

    Acts on this machine's data, or on the deployment whose settings the shell has.

    Example: `remit keys create --merchant acme --label checkout`

    Parameters
    ----------
    merchant
        1 to 63 of a-z, 0-9, - and _.
    mode
        A live key needs a processor that moves money.
    label
        What it is for, in at most 100 characters.
    """
    from remit.clock_and_ids import new_secret
    from remit.oversight.api_keys import MERCHANT, create_key

    if not MERCHANT.fullmatch(merchant):
        fail(
            "--merchant must be 1 to 63 of a-z, 0-9, - and _, starting with a letter or digit.",
            status=2,
        )
    if len(label) > LONGEST_LABEL:
        fail(f"--label must be at most {LONGEST_LABEL} characters.", status=2)

    async def use(app: App) -> None:
        made = await create_key(
            app, merchant_id=merchant, mode=mode, label=label, random=new_secret()
        )
        if json:
            print_json({"id": made.key.id, "key": made.secret, "merchant": merchant, "mode": mode})
        else:
            print(f"{made.secret}\nThis is key {made.key.id}. It is not shown again.")

    run_on_target(use, asks_database=True)


@keys.command(name="list")
def list_keys(*, json: Json = False) -> None:
    """List the keys there are, by their last four characters.

    Acts on this machine's data, or on the deployment whose settings the shell has.

    Example: `remit keys list`
    """

    async def use(app: App) -> None:
        found = await app.database.api_keys.all()
        if json:
            shown = [msgspec.to_builtins(key) for key in found]
            print_json([{k: v for k, v in key.items() if k != "hash"} for key in shown])
            return
        print_table(
            (
                value("key"),
                state("state"),
                value("merchant"),
                value("mode"),
                value("ends in"),
                prose("label"),
                value("revoked (UTC)"),
            ),
            [
                (
                    key.id,
                    "revoked" if key.revoked_at else "active",
                    key.merchant_id,
                    key.mode,
                    f"…{key.last4}",
                    key.label,
                    f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "",
                )
                for key in found
            ],
            empty="No keys yet: make one with `remit keys create --merchant NAME`.",
        )

    run_on_target(use, asks_database=True)


@keys.command(name="revoke")
def revoke(key_id: str, /) -> None:
    """Revoke a key. It stops working within a second, everywhere.

    Acts on this machine's data, or on the deployment whose settings the shell has.

    Example: `remit keys revoke 0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e`
    """

    async def use(app: App) -> None:
        if not await app.database.api_keys.revoke(key_id, app.clock()):
            fail(f"There is no key {key_id}. See `remit keys list`.")
        print(f"revoked {key_id}")

    run_on_target(use, asks_database=True)
