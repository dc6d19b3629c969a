"""What a deployment shows, asks and requires. Everything goes to standard error."""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from remit.entrypoints.cli.terminal import number, print_note, print_table, value
from remit_infra.graph.graph import Graph
from remit_infra.model.aws_account import DeployError, Problem
from remit_infra.model.environments import Names
from remit_infra.plan.plan import totals
from remit_infra.plan.pricing import read_prices

PAYMENTS_A_DAY = 1_000


def print_target(stack: str, account: str, region: str) -> None:
    """Names what a command is about to act on."""
    print_note(f"acting on the stack {stack} in account {account}, region {region}")


def confirm(question: str, *, ask: bool) -> None:
    """Raises DeployError unless the answer is yes. Without a terminal, only `--yes` is a yes."""
    if not ask:
        return
    if not sys.stdin.isatty():
        raise DeployError(f"{question} Say so with --yes.")
    sys.stderr.write(f"{question} [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise DeployError("Nothing was done.")


def require_no_problems(problems: Iterable[Problem]) -> None:
    """Raises DeployError, with a line for each problem."""
    if lines := [f"{each.check}: {each.problem}" for each in problems]:
        raise DeployError("\n".join(lines))


def require_unprotected(names: Names) -> None:
    """Raises DeployError where the environment is protected from deletion."""
    if names.environment.deletion_protection:
        raise DeployError(
            f"{names.suffix} is protected from deletion: deploy it with deletion_protection=False "
            "in src/remit_infra/model/environments.py first."
        )


def show_plan(graph: Graph) -> None:
    """By service: the number of resources, and dollars a month, idle and with payments."""
    rows = [
        (row.service, str(row.resources), f"{row.idle:,.2f}", f"{row.busy:,.2f}")
        for row in totals(graph, PAYMENTS_A_DAY * 30)
    ]
    columns = (
        value("service"),
        number("resources"),
        number("USD idle"),
        number(f"USD at {PAYMENTS_A_DAY:,}/day"),
    )
    print_table(columns, rows, empty="There is nothing to make.", stderr=True)
    print_note(f"prices of {read_prices().date} in us-east-1, before any free tier")


def write_outputs(path: Path, outputs: Mapping[str, str]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(outputs, indent=2, sort_keys=True) + "\n", encoding="utf-8")
