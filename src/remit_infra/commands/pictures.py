"""`remit infra cost`, `compare` and `diagram`: what a topology costs and what it looks like, in the
terminal and as a picture.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from remit.entrypoints.cli.terminal import (
    Json,
    fail,
    number,
    print_json,
    print_table,
    prose,
    value,
)
from remit_infra.commands.stack import (
    PAYMENTS_A_DAY,
    Environment,
    Payments,
    Settings,
    Topology,
    month_of,
    plan_named,
    require_tools,
)

if TYPE_CHECKING:
    from remit_infra.plan.compare import CostComparison
    from remit_infra.plan.cost import ServiceCost

Chart = Annotated[
    tuple[Path, ...],
    Parameter(
        negative="",
        help="Also draw it, as a file that ends in .svg, .png or .json. Can be repeated.",
    ),
]
Target = Annotated[Path, Parameter(help="A file that ends in .svg, .png or .d2. Can be repeated.")]
BAR_BLOCKS = 24


def cost(
    topology: Topology,
    /,
    *,
    env: Environment = "dev",
    configured: Settings = (),
    payments: Payments = PAYMENTS_A_DAY,
    chart: Chart = (),
    json: Json = False,
) -> None:
    """Show where each dollar of a month goes, the dearest first.

    Example: `remit infra cost lambda-postgres --env prod --set certificateArn=arn:aws:acm:…`
    """
    _require_endings(chart, (".svg", ".png", ".json"))
    month = month_of(payments)
    made = plan_named(topology, env, configured)
    from remit_infra.plan.cost import by_service, costs
    from remit_infra.plan.pricing import read_prices

    prices = read_prices()
    lines = costs(made.graph, prices)
    services = by_service(lines, month)
    if json:
        print_json({"prices": prices.date, "payments": month, "lines": lines})
    else:
        at_payments = number(f"at {payments:,} payments a day")
        print_table(
            (value("service"), prose("what"), number("USD a month idle"), at_payments),
            [
                (line.service, line.what, f"{line.idle:,.2f}", f"{line.month(month):,.2f}")
                for line in lines
                if line.month(month) >= 0.005
            ],
            empty="There is nothing to pay for.",
        )
        print()
        _print_bars(services, payments)
        print(f"prices of {prices.date} in us-east-1, before any free tier")
    if chart:
        from remit_infra.plan.charts import cost_chart, write_chart

        spec = cost_chart(f"What {topology} costs in {env}", services, payments)
        _write(chart, lambda path: write_chart(spec, path))


def _print_bars(services: "Sequence[ServiceCost]", payments: int) -> None:
    """A bar for each service: its idle part is solid, and what payments add is shaded."""
    block_dollars = max((one.total for one in services), default=0.0) / BAR_BLOCKS or 1.0
    rows = []
    for one in services:
        solid, all_blocks = (round(part / block_dollars) for part in (one.idle, one.total))
        bar = "█" * solid + "░" * (all_blocks - solid)
        rows.append((one.service, f"{one.idle:,.2f}", f"{one.total:,.2f}", bar))
    idle, busy = sum(one.idle for one in services), sum(one.total for one in services)
    print_table(
        (
            value("service"),
            number("USD a month idle █"),
            number(f"at {payments:,} payments a day ░"),
            value(""),
        ),
        [*rows, ("all", f"{idle:,.2f}", f"{busy:,.2f}", "")],
        empty="There is nothing to pay for.",
    )


def compare_topologies(*, env: Environment = "prod", chart: Chart = (), json: Json = False) -> None:
    """Show what a million payments cost in each topology, and from where on which is the cheapest.

    Example: `remit infra compare --env prod --chart compare.svg`
    """
    _require_endings(chart, (".svg", ".png", ".json"))
    require_tools()
    from remit_infra.model.environments import ConfigurationError
    from remit_infra.plan.compare import ASSUMED, LEFT_OUT, compare, lines_of
    from remit_infra.plan.pricing import read_prices

    try:
        lines = lines_of(env)
    except ConfigurationError as error:
        fail(str(error))
    found = compare(lines)
    prices = read_prices().date
    if json:
        notes = {"assumed": ASSUMED, "left_out": LEFT_OUT, "prices": prices}
        print_json({"env": env, **msgspec.structs.asdict(found), **notes})
    else:
        _print_comparison(found)
        print(f"{env}, prices of {prices} in us-east-1")
        for what, sentences in (("assumed", ASSUMED), ("left out", LEFT_OUT)):
            for sentence in sentences:
                print(f"{what}: {sentence}")
    if chart:
        from remit_infra.plan.charts import compare_chart, write_chart

        spec = compare_chart(f"What the topologies cost in {env}", lines, found)
        _write(chart, lambda path: write_chart(spec, path))


def _print_comparison(found: "CostComparison") -> None:
    """What each costs, and then a line for each number of payments at which two cost the same."""
    volumes = sorted({cost.payments for cost in found.costs})
    rows: dict[str, list[str]] = {}
    for cost in found.costs:
        row = rows.setdefault(cost.topology, [cost.topology])
        row.append(f"{cost.month:,.2f} ({cost.million:,.2f})")
    print_table(
        (
            value("USD a month (for a million)"),
            *(number(f"{n // 1_000_000:,} million payments") for n in volumes),
        ),
        list(rows.values()),
        empty="There is nothing to compare.",
    )
    print()
    lowest = {one.payments for one in found.cheapest}
    crossovers = [
        (
            f"{one.payments:,}",
            f"{one.month:,.2f}",
            one.above,
            one.below,
            "the cheapest" if one.payments in lowest else "",
        )
        for one in found.crossovers
    ]
    print_table(
        (
            number("from payments a month"),
            number("USD a month"),
            value("costs less"),
            value("than"),
            value(""),
        ),
        [("0", "", found.cheapest[0].topology, "all others", "the cheapest"), *crossovers],
        empty="There is nothing to compare.",
    )


def diagram(
    topology: Topology,
    /,
    *targets: Target,
    env: Environment = "dev",
    configured: Settings = (),
) -> None:
    """Draw the architecture from the program itself, as SVG, PNG or D2's text.

    Example: `remit infra diagram lambda-postgres lambda-postgres.svg lambda-postgres.png`
    """
    paths = targets or (Path("dist") / f"{topology}.svg",)
    _require_endings(paths, (".svg", ".png", ".d2"))
    made = plan_named(topology, env, configured)
    from remit_infra.plan.d2 import d2_source, write_diagram
    from remit_infra.plan.diagram import diagram_of

    source = d2_source(diagram_of(made.graph))
    _write(paths, lambda path: write_diagram(source, path))
    print(*paths, sep="\n")


def _require_endings(paths: tuple[Path, ...], endings: tuple[str, ...]) -> None:
    for path in paths:
        if path.suffix not in endings:
            fail(f"{path} must end in one of {', '.join(endings)}.", status=2)


def _write(paths: tuple[Path, ...], write: Callable[[Path], None]) -> None:
    """Writes each file, in a folder that is made for it."""
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
        except OSError as error:
            fail(f"{path} cannot be written: {error.strerror}.")
