"""`remit deploy` and `remit destroy`: what they look at, say and ask before they act."""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from remit.entrypoints.cli.terminal import print_table
from remit_infra.build.lambda_package import PYTHON, build_package
from remit_infra.deploy.cloudformation import CloudFormationStack
from remit_infra.deploy.cloudformation import Progress as Told
from remit_infra.graph.graph import Graph, graph_of_template
from remit_infra.model.aws_account import DeployError, Problem, aws_clients
from remit_infra.model.environments import Names, resource_name
from remit_infra.plan.plan import totals
from remit_infra.plan.pricing import read_prices
from remit_infra.topologies.lambda_dynamodb import STACK_NAME, synthesise_in_subprocess

OUTPUTS = Path("cfn-outputs/flat-outputs.json")
PAYMENTS_A_DAY = 1_000
CODE = Path("dist/function.zip")


def deployment_of(suffix: str) -> CloudFormationStack:
    """The deployment in the account and region that the environment names."""
    names = Names(suffix)
    return CloudFormationStack(resource_name("stack", STACK_NAME, suffix), names, *aws_clients())


def deploy(suffix: str, *, architecture: str, ask: bool, **options: Any) -> dict[str, str]:
    """Looks, packages, shows the plan, asks, deploys. The outputs are answered and written."""
    # First what needs no account: a name that does not fit, a date that is none.
    _, template = synthesise_in_subprocess(suffix=suffix, architecture=architecture, **options)
    deployment = deployment_of(suffix)
    require_none(deployment.problems())
    code = build_package(CODE, python=PYTHON, architecture=architecture)
    say(f"account {deployment.account}, region {deployment.region}, stack {deployment.stack}")
    say(f"functions: {code.bytes / 1e6:.1f} MB for Python {PYTHON} on {architecture}")
    show_plan(graph_of_template("lambda-dynamodb", suffix, template))
    confirm(f"Deploy to {deployment.account}?", ask=ask)
    with Bar("deploying") as told:
        outputs = deployment.deploy(template, CODE, told)
    write(OUTPUTS, outputs)
    return outputs


def destroy(suffix: str, *, ask: bool) -> None:
    deployment = deployment_of(suffix)
    if deployment.status() is None:
        raise DeployError(f"There is no stack {deployment.stack} in {deployment.region}.")
    require_unprotected(deployment.names)
    confirm(
        f"Delete {deployment.stack} in {deployment.account}, with every payment in it?", ask=ask
    )
    with Bar("destroying") as told:
        deployment.destroy(told)
    say(f"{deployment.stack} is gone")


def outputs(suffix: str) -> dict[str, str]:
    return deployment_of(suffix).outputs()


def exports(suffix: str) -> str:
    """What an operator's shell needs, as lines for it."""
    return deployment_of(suffix).exports("payment-delivery")


def require_none(problems: Iterable[Problem]) -> None:
    """Raises DeployError, with a line for each."""
    if lines := [f"{one.check}: {one.problem}" for one in problems]:
        raise DeployError("\n".join(lines))


def require_unprotected(names: Names) -> None:
    """Raises DeployError where the environment may not be deleted."""
    if names.environment.deletion_protection:
        raise DeployError(
            f"{names.suffix} is protected from deletion: deploy it with deletion_protection=False "
            "in src/remit_infra/model/environments.py first."
        )


def write(path: Path, outputs: Mapping[str, str]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(outputs, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def show_plan(graph: Graph) -> None:
    """By service: how many resources, and dollars a month, idle and with payments."""
    rows = [
        (row.service, str(row.resources), f"{row.idle:.2f}", f"{row.busy:.2f}")
        for row in totals(graph, PAYMENTS_A_DAY * 30)
    ]
    heads = ("service", "resources", "USD idle", f"USD at {PAYMENTS_A_DAY}/day")
    print_table(heads, rows, stderr=True)
    say(f"prices of {read_prices().date} in us-east-1, before any free tier")


def say(line: str) -> None:
    sys.stderr.write(line + "\n")


def confirm(question: str, *, ask: bool) -> None:
    """Raises DeployError unless the answer is yes. Nobody is asked where nobody can answer."""
    if not ask:
        return
    if not sys.stdin.isatty():
        raise DeployError(f"{question} Say so with --yes.")
    sys.stderr.write(f"{question} [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise DeployError("Nothing was done.")


class Bar:
    """Resources done of all, with the one that changed last. Lines where there is no terminal."""

    def __init__(self, what: str) -> None:
        columns = (
            TextColumn(what),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)

    def __enter__(self) -> Told:
        self._bar.start()
        task = self._bar.add_task("", total=None, now="")

        def told(now: str, done: int, total: int) -> None:
            self._bar.update(task, completed=done, total=total, now=now)
            if not self._bar.console.is_terminal:
                say(f"{done}/{total} {now}")

        return told

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
