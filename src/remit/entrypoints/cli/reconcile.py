"""`remit reconcile`: books, payments, processor and audit trail are compared."""

from remit.entrypoints.cli.target import run_on_target
from remit.entrypoints.cli.terminal import (
    Json,
    instant,
    print_error,
    print_json,
    print_table,
    progress_bar,
    prose,
    value,
)
from remit.ports.app import App


def reconcile(*, json: Json = False) -> None:
    """Prove that books, payments, processor and audit trail agree, or name what does not.

    Names also what has waited for too long, or waits for a person. Ends with 1 if anything does not
    agree.

    Acts on this machine's data, or on the deployment whose settings the shell has.

    Example: `remit reconcile`
    """
    from remit.oversight import reconcile as books

    async def use(app: App) -> None:
        total = await app.database.books.count()
        with progress_bar("payments", total, show=not json) as seen:
            found = [discrepancy async for discrepancy in books.reconcile(app, seen)]
        waiting = [one async for one in books.find_waiting(app)]
        if json:
            print_json({"payments": total, "discrepancies": found, "waiting": waiting})
        elif found:
            print_table(
                (value("check"), value("record"), prose("problem"), prose("what to do")),
                [(d.check, d.record, d.problem, d.next_step) for d in found],
                empty="",
            )
        else:
            print(f"{total} payments, the books, the processor and the audit trail agree.")
        if waiting and not json:
            print_table(
                (value("waits"), value("record"), value("since (UTC)"), prose("what to do")),
                [(w.kind, w.record, instant(w.since), w.next_step) for w in waiting],
                empty="",
            )
        if found:
            print_error(f"{len(found)} do not agree; the first is {found[0].record}.")
            raise SystemExit(1)

    run_on_target(use)
