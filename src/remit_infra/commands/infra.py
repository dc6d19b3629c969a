"""`remit infra`: look at a topology before it is deployed, with no account and no network."""

from cyclopts import App as Commands

from remit.entrypoints.cli.terminal import (
    AWS,
    Json,
    Steps,
    fail,
    number,
    print_json,
    print_table,
    prose,
    value,
)
from remit_infra.commands.pictures import compare_topologies, cost, diagram
from remit_infra.commands.stack import (
    PAYMENTS_A_DAY,
    Environment,
    Payments,
    Settings,
    Topology,
    month_of,
    plan_named,
)

infra = Commands(
    name="infra",
    help="Look at a topology before it is deployed. Needs no account.",
    group=AWS,
    sort_key=1,
)


@infra.command
def plan(
    topology: Topology,
    /,
    *,
    env: Environment = "dev",
    configured: Settings = (),
    payments: Payments = PAYMENTS_A_DAY,
    json: Json = False,
) -> None:
    """Show what would be made, what it costs, and what the scanners find.

    Example: `remit infra plan lambda-postgres --env staging-001`
    """
    month, steps = month_of(payments), Steps()
    made = plan_named(topology, env, configured, steps)
    from remit_infra.graph.scanners import ScannerError
    from remit_infra.plan.plan import findings_of, totals

    rows = totals(made.graph, month)
    if not json:
        print_table(
            (
                value("service"),
                number("resources"),
                number("USD a month idle"),
                number(f"at {payments:,} payments a day"),
            ),
            [
                (row.service, str(row.resources), f"{row.idle:,.2f}", f"{row.busy:,.2f}")
                for row in rows
            ],
            empty="There is nothing to make.",
        )
    findings, problem = None, None
    try:
        with steps.step("running the scanners"):
            findings = findings_of(made)
    except ScannerError as error:
        problem = str(error)
    if json:
        print_json({"services": [row._asdict() for row in rows], "findings": findings})
    elif findings is not None:
        print(f"scanners: {len(findings)} findings")
        for finding in findings:
            print(f"  {finding.rule} {finding.resource}: {finding.problem}")
    if problem is not None:
        fail(problem)


@infra.command
def graph(
    topology: Topology,
    /,
    *,
    env: Environment = "dev",
    configured: Settings = (),
    json: Json = False,
) -> None:
    """List every resource, and what each needs.

    Example: `remit infra graph lambda-postgres --env dev --json`
    """
    made = plan_named(topology, env, configured).graph
    if json:
        print_json(made)
        return
    needs: dict[str, list[str]] = {}
    for one, other in made.edges():
        needs.setdefault(one, []).append(other)
    print_table(
        (value("resource"), value("type"), prose("needs")),
        [(r.name, r.type, ", ".join(needs.get(r.name, []))) for r in made.resources],
        empty="There is nothing to make.",
    )


@infra.command
def check(
    topology: Topology,
    /,
    *,
    env: Environment = "dev",
    configured: Settings = (),
    json: Json = False,
) -> None:
    """Run the security scanners. Ends with status 1 if they find what was not accepted.

    Example: `remit infra check lambda-dynamodb --env prod`
    """
    steps = Steps()
    made = plan_named(topology, env, configured, steps)
    from remit_infra.graph.scanners import ScannerError
    from remit_infra.plan.plan import findings_of

    try:
        with steps.step("running the scanners"):
            findings = findings_of(made)
    except ScannerError as error:
        fail(str(error))
    if json:
        print_json(findings)
    else:
        print_table(
            (value("rule"), value("resource"), prose("problem")),
            [(finding.rule, finding.resource, finding.problem) for finding in findings],
            empty="The scanners find nothing that is not accepted.",
        )
    if findings:
        raise SystemExit(1)


infra.command(cost)
infra.command(compare_topologies, name="compare")
infra.command(diagram)
