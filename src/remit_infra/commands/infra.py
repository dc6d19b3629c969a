"""`remit infra`: look at a topology before it is deployed, with no account and no network."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from cyclopts import App as Commands
from cyclopts import Parameter

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

if TYPE_CHECKING:
    from remit_infra.plan.plan import Planned

Topology = Literal["fargate-aurora", "lambda-dynamodb", "lambda-postgres"]
Environment = Annotated[
    str,
    Parameter(
        name="--env",
        help="The environment suffix: dev, staging or prod, alone or followed by a dash and more.",
    ),
]
Settings = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set",
        negative="",
        help="A configuration key of the topology with its value, key=value. Can be repeated.",
    ),
]
Payments = Annotated[int, Parameter(help="How many a day the cost is for.")]
PAYMENTS_A_DAY = 1_000
DAYS = 30
MAX_PAYMENTS_A_DAY = 100_000_000

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
    month, steps = _month(payments), Steps()
    made = _planned(topology, env, configured, steps)
    from remit_infra.graph.scanners import ScannerError
    from remit_infra.plan.plan import found, totals

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
            findings = found(made)
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
    made = _planned(topology, env, configured).graph
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
def cost(
    topology: Topology,
    /,
    *,
    env: Environment = "dev",
    configured: Settings = (),
    payments: Payments = PAYMENTS_A_DAY,
    json: Json = False,
) -> None:
    """Show where each dollar of a month goes, the dearest first.

    Example: `remit infra cost lambda-postgres --env prod --set certificateArn=arn:aws:acm:…`
    """
    from remit_infra.plan.cost import costs
    from remit_infra.plan.pricing import read_prices

    prices = read_prices()
    month = _month(payments)
    lines = costs(_planned(topology, env, configured).graph, prices)
    if json:
        print_json({"prices": prices.date, "payments": month, "lines": lines})
        return
    rows = [
        (line.service, line.what, f"{line.idle:,.2f}", f"{line.month(month):,.2f}")
        for line in lines
        if line.month(month) >= 0.005
    ]
    idle, busy = (sum(line.month(number) for line in lines) for number in (0, month))
    print_table(
        (
            value("service"),
            prose("what"),
            number("USD a month idle"),
            number(f"at {payments:,} payments a day"),
        ),
        [*rows, ("all", "", f"{idle:,.2f}", f"{busy:,.2f}")],
        empty="There is nothing to pay for.",
    )
    print(f"prices of {prices.date} in us-east-1, before any free tier")


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
    made = _planned(topology, env, configured, steps)
    from remit_infra.graph.scanners import ScannerError
    from remit_infra.plan.plan import found

    try:
        with steps.step("running the scanners"):
            findings = found(made)
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


@infra.command
def diagram(
    topology: Topology,
    target: Path | None = None,
    /,
    *,
    env: Environment = "dev",
    configured: Settings = (),
) -> None:
    """Draw the architecture, as an SVG file.

    Example: `remit infra diagram lambda-postgres docs/lambda-postgres.svg`
    """
    from remit_infra.plan.diagram import svg

    path = target or Path("dist") / f"{topology}.svg"
    drawn = svg(_planned(topology, env, configured).graph)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(drawn, encoding="utf-8")
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}.")
    print(path)


@infra.command(name="compare")
def compare_topologies(*, env: Environment = "prod", json: Json = False) -> None:
    """Show what a million payments cost in each topology, and from where on which is the cheapest.

    Example: `remit infra compare --env prod`
    """
    require_tools()
    from remit_infra.model.environments import ConfigurationError
    from remit_infra.plan.compare import ASSUMED, LEFT_OUT, VOLUMES, compare, lines_of
    from remit_infra.plan.pricing import read_prices

    try:
        lines = lines_of(env)
    except ConfigurationError as error:
        fail(str(error))
    found = compare(lines)
    if json:
        said = {"assumed": ASSUMED, "left_out": LEFT_OUT, "prices": read_prices().date}
        print_json({"env": env, **msgspec.structs.asdict(found), **said})
        return
    bills = {(bill.topology, bill.payments): bill for bill in found.bills}
    print_table(
        (
            value("USD a month (for a million)"),
            *(number(f"{n // 1_000_000:,} million payments") for n in VOLUMES),
        ),
        [
            *(
                (
                    topology,
                    *(
                        f"{bills[topology, n].month:,.2f} ({bills[topology, n].million:,.2f})"
                        for n in VOLUMES
                    ),
                )
                for topology in lines
            ),
            ("the cheapest", *(found.cheapest[n] for n in VOLUMES)),
        ],
        empty="There is nothing to compare.",
    )
    for turn in found.turns:
        print(f"from {turn.payments:,} payments a month: {turn.topology}")
    print(f"{env}, prices of {read_prices().date} in us-east-1")
    for what, sentences in (("assumed", ASSUMED), ("left out", LEFT_OUT)):
        for sentence in sentences:
            print(f"{what}: {sentence}")


def _planned(
    topology: Topology, env: str, pairs: tuple[str, ...], steps: Steps | None = None
) -> "Planned":
    require_tools()
    steps = steps or Steps()
    from remit_infra.model.environments import ConfigurationError
    from remit_infra.plan.plan import planned

    wrong = next((pair for pair in pairs if not pair.partition("=")[0] or "=" not in pair), None)
    if wrong is not None:
        fail(f"--set is '{wrong}' and must be key=value.", status=2)
    try:
        with steps.step(f"planning {topology} {env}"):
            return planned(topology, env, dict(pair.split("=", 1) for pair in pairs))
    except ConfigurationError as error:
        fail(str(error))


def require_tools() -> None:
    """The service alone needs none of them, so `make run` does not install them."""
    if any(find_spec(tool) is None for tool in ("aws_cdk", "boto3", "pulumi_aws")):
        fail("This command needs the tools for AWS: run `make aws` first.")


def _month(payments_a_day: int) -> int:
    if not 0 <= payments_a_day <= MAX_PAYMENTS_A_DAY:
        fail(f"--payments must be from 0 to {MAX_PAYMENTS_A_DAY:,}.", status=2)
    return payments_a_day * DAYS
