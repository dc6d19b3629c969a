"""`remit deploy`, `destroy` and `outputs` for lambda-dynamodb."""

from pathlib import Path

from remit.entrypoints.cli.terminal import Steps
from remit_infra.build.lambda_package import PYTHON, build_package
from remit_infra.deploy.cloudformation import CloudFormationStack
from remit_infra.deploy.terminal import (
    confirm,
    print_target,
    require_no_problems,
    require_unprotected,
    show_plan,
    write_outputs,
)
from remit_infra.graph.graph import graph_of_template
from remit_infra.model.aws_account import aws_clients
from remit_infra.model.environments import MIGRATION_DATE, Names
from remit_infra.topologies.lambda_dynamodb import STACK_NAME, synthesise_in_subprocess

OUTPUTS = Path("cfn-outputs/flat-outputs.json")
CODE = Path("dist/function.zip")


def stack_of(suffix: str) -> CloudFormationStack:
    """The stack in the account and region of the environment."""
    names = Names(suffix)
    return CloudFormationStack(names("stack", STACK_NAME), names, *aws_clients())


def deploy(suffix: str, *, architecture: str, ask: bool, **options: str | None) -> dict[str, str]:
    """Checks, packages, shows the plan, asks, deploys. Writes the outputs and returns them.
    `options` are configuration by the keys of Pulumi's topologies.

    Raises ConfigurationError, DeployError, PackageError.
    """
    steps = Steps()
    # Missing credentials are said at once: synthesis takes seconds.
    with steps.step("checking the account"):
        stack = named_stack(suffix)
        require_no_problems(stack.problems())
    with steps.step("synthesising the stack"):
        _, template = synthesise_in_subprocess(
            suffix=suffix,
            architecture=architecture,
            migration_date=options.get("migrationDate") or MIGRATION_DATE,
            alarm_email=options.get("alarmEmail"),
        )
    with steps.step("packaging the functions"):
        package = build_package(CODE, python=PYTHON, architecture=architecture)
    steps.note(f"functions: {package.bytes / 1e6:.1f} MB for Python {PYTHON} on {architecture}")
    show_plan(graph_of_template("lambda-dynamodb", suffix, template))
    confirm(f"Deploy to {stack.account}?", ask=ask)
    with steps.step("deploying") as progress:
        outputs = stack.deploy(template, CODE, progress)
    write_outputs(OUTPUTS, outputs)
    return outputs


def destroy(suffix: str, *, ask: bool) -> None:
    """Asks and deletes the stack. Raises ConfigurationError, DeployError."""
    stack = named_stack(suffix)
    stack.require()
    require_unprotected(stack.names)
    confirm(f"Delete {stack.name} in {stack.account}, with every payment in it?", ask=ask)
    steps = Steps()
    with steps.step("destroying") as progress:
        stack.destroy(progress)
    steps.note(f"{stack.name} is gone")


def outputs(suffix: str) -> dict[str, str]:
    return named_stack(suffix).outputs()


def exports(suffix: str) -> str:
    """The service's settings, as lines for an operator's shell."""
    return named_stack(suffix).exports("payment-delivery")


def named_stack(suffix: str) -> CloudFormationStack:
    """The stack, once it is said which one that is."""
    stack = stack_of(suffix)
    print_target(stack.name, stack.account, stack.region)
    return stack
