"""`remit deploy`, `destroy` and `outputs` for lambda-dynamodb."""

from pathlib import Path
from typing import Any

from remit.entrypoints.cli.terminal import Steps
from remit_infra.build.lambda_package import PYTHON, build_package
from remit_infra.deploy.cloudformation import CloudFormationStack
from remit_infra.deploy.terminal import (
    confirm,
    require_no_problems,
    require_unprotected,
    show_plan,
    write_outputs,
)
from remit_infra.graph.graph import graph_of_template
from remit_infra.model.aws_account import DeployError, aws_clients
from remit_infra.model.environments import Names
from remit_infra.topologies.lambda_dynamodb import STACK_NAME, synthesise_in_subprocess

OUTPUTS = Path("cfn-outputs/flat-outputs.json")
CODE = Path("dist/function.zip")


def stack_of(suffix: str) -> CloudFormationStack:
    """The stack in the account and region of the environment."""
    names = Names(suffix)
    return CloudFormationStack(names("stack", STACK_NAME), names, *aws_clients())


def deploy(suffix: str, *, architecture: str, ask: bool, **options: Any) -> dict[str, str]:
    """Checks, packages, shows the plan, asks, deploys. Writes the outputs and returns them.

    Raises ConfigurationError, DeployError, PackageError.
    """
    steps = Steps()
    # Synthesis comes first: it needs no account, and finds a wrong suffix or date.
    with steps.step("synthesising the stack"):
        _, template = synthesise_in_subprocess(suffix=suffix, architecture=architecture, **options)
    with steps.step("checking the account"):
        stack = stack_of(suffix)
        require_no_problems(stack.problems())
    with steps.step("packaging the functions"):
        package = build_package(CODE, python=PYTHON, architecture=architecture)
    steps.note(f"account {stack.account}, region {stack.region}, stack {stack.name}")
    steps.note(f"functions: {package.bytes / 1e6:.1f} MB for Python {PYTHON} on {architecture}")
    show_plan(graph_of_template("lambda-dynamodb", suffix, template))
    confirm(f"Deploy to {stack.account}?", ask=ask)
    with steps.step("deploying") as progress:
        outputs = stack.deploy(template, CODE, progress)
    write_outputs(OUTPUTS, outputs)
    return outputs


def destroy(suffix: str, *, ask: bool) -> None:
    """Asks and deletes the stack. Raises ConfigurationError, DeployError."""
    stack = stack_of(suffix)
    if stack.status() is None:
        raise DeployError(f"There is no stack {stack.name} in {stack.region}.")
    require_unprotected(stack.names)
    confirm(f"Delete {stack.name} in {stack.account}, with every payment in it?", ask=ask)
    steps = Steps()
    with steps.step("destroying") as progress:
        stack.destroy(progress)
    steps.note(f"{stack.name} is gone")


def outputs(suffix: str) -> dict[str, str]:
    return stack_of(suffix).outputs()


def exports(suffix: str) -> str:
    """The service's settings, as lines for an operator's shell."""
    return stack_of(suffix).exports("payment-delivery")
