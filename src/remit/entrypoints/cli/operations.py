"""`remit operations`: what was sent to a processor is looked at, and decided by persons."""

import re
from typing import Annotated, Literal

import msgspec
from cyclopts import App as Commands
from cyclopts import Parameter

from remit.domain.operation import (
    Approved,
    Declined,
    NotDone,
    Operation,
    ProcessorResult,
)
from remit.entrypoints.cli import operation_views as views
from remit.entrypoints.cli.data_folder import command_settings
from remit.entrypoints.cli.target import JobRunner, operator_name, run_jobs_on_target
from remit.entrypoints.cli.terminal import (
    OPERATE,
    Json,
    fail,
    print_json,
    print_line,
    print_table,
)

operations = Commands(
    name="operations",
    help="Look at what was sent to a processor, and decide what does not end by itself.",
    group=OPERATE,
    sort_key=4,
)

MOST_LISTED = 1_000
LONGEST_REFERENCE = 255

Person = Annotated[str | None, Parameter("--as")]


@operations.command(name="list")
def list_operations(
    *,
    payment: str | None = None,
    everything: Annotated[bool, Parameter("--all")] = False,
    limit: int = 100,
    json: Json = False,
) -> None:
    """List the operations that wait for a person, all without a result, or those of a payment.

    Acts on this machine's data, or on the deployment whose settings the shell has.

    Example: `remit operations list --all`

    Parameters
    ----------
    payment
        Every operation of this payment, ended or not.
    everything
        Also those without a result that still end by themselves.
    limit
        How many, from 1 to 1000.
    """
    if not 1 <= limit <= MOST_LISTED:
        fail(f"--limit must be from 1 to {MOST_LISTED}.", status=2)
    if payment is not None and everything:
        fail("Name a payment, or say --all.", status=2)

    async def use(run: JobRunner) -> None:
        if payment is not None:
            jobs = await run("operations", payment_id=payment)
        else:
            jobs = await run("operations", needs_decision=not everything, limit=limit)
        found = msgspec.convert(jobs, list[Operation])[:limit]
        shown = [views.operation_view(operation) for operation in found]
        if json:
            print_json(shown)
            return
        empty = "No operation waits for a person."
        if payment is not None:
            empty = "This payment has no operation."
        elif everything:
            empty = "Every operation has its result."
        print_table(
            views.OPERATION_COLUMNS,
            [views.operation_row(view) for view in shown],
            empty=empty,
        )

    run_jobs_on_target(use)


@operations.command(name="show")
def show_operation(operation_id: str, /, *, json: Json = False) -> None:
    """Show one operation: its instruction, its result, and what a person can do.

    Acts on this machine's data, or on the deployment whose settings the shell has.

    Example: `remit operations show 0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e`
    """

    async def use(run: JobRunner) -> None:
        found = await run("operation", id=operation_id)
        view = views.operation_view(msgspec.convert(found, Operation))
        if json:
            print_json(view)
            return
        print_table(views.FIELD_COLUMNS, views.operation_fields(view), empty="")
        print_line("")
        for line in views.next_steps(view):
            print_line(line)

    run_jobs_on_target(use)


@operations.command(name="decide")
def decide_operation(
    operation_id: str,
    result: Literal["approved", "declined", "not-done"],
    /,
    *,
    reference: str | None = None,
    code: str = "processor_declined",
    person: Person = None,
    json: Json = False,
) -> None:
    """Say what became of an operation at the processor. It counts once a second person says so.

    Acts on this machine's data, or on the deployment whose settings the shell has.

    Example: `remit operations decide 0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e not-done`

    Parameters
    ----------
    result
        approved: the processor did it. declined: it refused. not-done: it never had the
        instruction, and never will.
    reference
        The processor's own name for what it did, if it approved.
    code
        Why the processor declined, as the API shows it.
    person
        Who says so, on this machine. In AWS it is who the credentials belong to.
    """
    decided = _result(result, reference, code)
    settings = command_settings()

    async def use(run: JobRunner) -> None:
        by = await operator_name(settings, person)
        after = await run("decide", id=operation_id, by=by, result=msgspec.to_builtins(decided))
        operation = msgspec.convert(after, Operation)
        if json:
            print_json(views.operation_view(operation))
        elif operation.is_open:
            print(f"proposed by {by}: {result}. A second person has to say the same.")
        else:
            print(f"operation {operation.id}: {operation.state}")

    run_jobs_on_target(use)


def _result(result: str, reference: str | None, code: str) -> ProcessorResult:
    """The result that the arguments say. Fails where they do not fit."""
    if (result == "approved") != (reference is not None):
        fail("--reference belongs to approved: the processor's own name for it.", status=2)
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", code):
        fail("--code must be 1 to 64 of a-z, 0-9 and _, starting with a letter.", status=2)
    if reference is not None:
        if not re.fullmatch(rf"[!-~]{{1,{LONGEST_REFERENCE}}}", reference):
            fail(f"--reference must be 1 to {LONGEST_REFERENCE} printable characters.", status=2)
        return Approved(reference)
    return Declined(code, "The processor declined it.") if result == "declined" else NotDone()
