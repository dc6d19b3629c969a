"""`remit`, whole: the service's commands and those that build and run its infrastructure."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
from cyclopts import Parameter

from remit.entrypoints.cli.main import cli
from remit.entrypoints.cli.main import main as run
from remit.entrypoints.cli.terminal import (
    AWS,
    Json,
    Steps,
    fail,
    print_json,
    print_line,
    print_table,
    prose,
    value,
)
from remit.settings import OUTPUTS_FAILED, PREFIX, Settings
from remit_infra.commands.image import image
from remit_infra.commands.infra import infra
from remit_infra.commands.restore import restore
from remit_infra.commands.stack import Topology, require_tools
from remit_infra.model.environments import MIGRATION_DATE

__all__ = ["cli", "main"]

cli.command(infra)
cli.command(restore, group=AWS, sort_key=6)
cli.command(image, group=AWS, sort_key=7)

Environment = Annotated[str, Parameter(name="--env")]


def main() -> None:
    """Runs one command.

    If `remit outputs … --shell` fails, it prints a setting that makes the shell's next command
    refuse, instead of acting on this machine's data.
    """
    arguments = sys.argv[1:]
    succeeded = False
    try:
        run()
        succeeded = True
    except SystemExit as ended:
        succeeded = not ended.code
        raise
    finally:
        if not succeeded and "outputs" in arguments[:1] and "--shell" in arguments:
            print_line(f"export {OUTPUTS_FAILED}={shlex.quote(shlex.join(arguments))}; false")


@cli.command(group=AWS, sort_key=8)
def package(
    target: Path = Path("dist/function.zip"),
    /,
    *,
    python: str = "3.13",
    architecture: Annotated[str, Parameter(name="--arch")] = "arm64",
    json: Json = False,
) -> None:
    """Make the zip that Lambda functions run. The same input gives the same bytes.

    Example: `remit package dist/function.zip --arch x86_64`

    Parameters
    ----------
    target
        Where to write it.
    python
        The version of Lambda's Python.
    architecture
        arm64 or x86_64.
    json
        Print JSON, for pipes.
    """
    from remit_infra.build.lambda_package import PackageError, build_package

    try:
        made = build_package(target, python=python, architecture=architecture)
    except PackageError as error:
        fail(str(error))
    if json:
        print_json(made)
    else:
        print(f"{made.path}: {made.bytes / 1e6:.1f} MB, {made.files} files, sha256 {made.sha256}")


@cli.command(group=AWS, sort_key=2)
def emulate(
    topology: Topology = "lambda-dynamodb",
    /,
    *,
    port: int = 0,
    install: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Run a whole topology on this machine, in an emulated AWS that enforces permissions.

    Needs no account.

    Example: `remit emulate lambda-dynamodb`

    Parameters
    ----------
    topology
        lambda-dynamodb, or one of fargate-aurora and lambda-postgres, which need Terraform on PATH.
    port
        The emulator's; without it, a free one.
    install
        Only install the emulator.
    """
    require_tools()
    from remit.entrypoints.cli.example import NotPaid
    from remit_infra.build.lambda_package import PackageError
    from remit_infra.emulated import emulator, services
    from remit_infra.graph.terraform import TerraformError
    from remit_infra.model.aws_account import DeployError

    try:
        if install:
            emulator.install()
            return
        steps = Steps()
        with steps.step("looking for the emulator"):
            command = emulator.install()
        services.run(topology, command, port, steps)
    except (
        emulator.EmulatorError,
        DeployError,
        NotPaid,
        PackageError,
        TerraformError,
    ) as error:
        fail(str(error))


@dataclass(frozen=True)
class DeployOptions:
    """How a topology is deployed."""

    migration_date: str = MIGRATION_DATE
    """The date in the MigrationDate tag."""

    alarm_email: str | None = None
    """Where the alarms go; SNS asks for a confirmation first."""

    architecture: Annotated[str, Parameter(name="--arch")] = "arm64"
    """arm64 or x86_64."""


USUAL_OPTIONS = DeployOptions()


@cli.command(group=AWS, sort_key=3)
def deploy(
    topology: Topology,
    /,
    *,
    env: Environment = "dev",
    options: Annotated[DeployOptions, Parameter(name="*")] = USUAL_OPTIONS,
    yes: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> None:
    """Deploy a topology to your AWS account: look first, show the plan, then make or change it.

    Acts on the account and region of the shell's credentials.

    Example: `AWS_REGION=us-east-1 remit deploy lambda-dynamodb --env staging-001`

    Parameters
    ----------
    topology
        lambda-dynamodb, or one of fargate-aurora and lambda-postgres, which need Pulumi's command
        line; fargate-aurora needs Docker too.
    env
        The environment suffix: dev, staging or prod, alone or followed by a dash and more.
    yes
        Do not ask.
    json
        Print the outputs as JSON, for pipes.
    """
    require_tools()
    from remit_infra.build.lambda_package import PackageError
    from remit_infra.model.aws_account import DeployError
    from remit_infra.model.environments import ConfigurationError, require_date

    try:
        require_date(options.migration_date)
        outputs = _deployer(topology).deploy(
            env,
            architecture=options.architecture,
            ask=not yes,
            migrationDate=options.migration_date,
            alarmEmail=options.alarm_email,
        )
    except (DeployError, PackageError, ConfigurationError) as error:
        fail(str(error))
    _print_outputs(outputs, json=json)


@cli.command(group=AWS, sort_key=5)
def destroy(
    topology: Topology,
    /,
    *,
    env: Environment = "dev",
    yes: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Delete a deployment with everything in it: payments, keys and the audit trail.

    Acts on the account and region of the shell's credentials.

    Example: `remit destroy lambda-dynamodb --env dev-test-001`

    Parameters
    ----------
    topology
        fargate-aurora, lambda-dynamodb or lambda-postgres.
    env
        The environment suffix that it was deployed with.
    yes
        Do not ask.
    """
    require_tools()
    from remit_infra.model.aws_account import DeployError
    from remit_infra.model.environments import ConfigurationError

    try:
        _deployer(topology).destroy(env, ask=not yes)
    except (DeployError, ConfigurationError) as error:
        fail(str(error))


@cli.command(group=AWS, sort_key=4)
def outputs(
    topology: Topology,
    /,
    *,
    env: Environment = "dev",
    shell: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> None:
    """Show where a deployment is, or give your shell its settings.

    Acts on the account and region of the shell's credentials.

    Example: `eval "$(remit outputs lambda-dynamodb --env dev --shell)" && remit keys list`

    Parameters
    ----------
    topology
        fargate-aurora, lambda-dynamodb or lambda-postgres.
    env
        The environment suffix that it was deployed with.
    shell
        Print the service's settings as `export` lines, for `remit` to work on the deployment.
    json
        Print JSON, for pipes.
    """
    require_tools()
    from remit_infra.model.aws_account import DeployError
    from remit_infra.model.environments import ConfigurationError

    try:
        if shell:
            print_line(only_these(_deployer(topology).exports(env)))
        else:
            _print_outputs(_deployer(topology).outputs(env), json=json)
    except (DeployError, ConfigurationError) as error:
        fail(str(error))


class Deployer(Protocol):
    """What each topology's module in `deploy/` does."""

    def deploy(
        self, suffix: str, *, architecture: str, ask: bool, **options: str | None
    ) -> dict[str, str]: ...

    def destroy(self, suffix: str, *, ask: bool) -> None: ...

    def outputs(self, suffix: str) -> dict[str, str]: ...

    def exports(self, suffix: str) -> str: ...


def _deployer(topology: Topology) -> Deployer:
    """Imported alone: each takes a second, for the SDK of its own."""
    match topology:
        case "fargate-aurora":
            from remit_infra.deploy import fargate_aurora

            return fargate_aurora
        case "lambda-dynamodb":
            from remit_infra.deploy import lambda_dynamodb

            return lambda_dynamodb
        case "lambda-postgres":
            from remit_infra.deploy import lambda_postgres

            return lambda_postgres


def only_these(exports: str) -> str:
    """The lines, after one that takes away what an earlier deployment left in the shell."""
    places = [
        f"{PREFIX}{field.name.upper()}"
        for field in msgspec.structs.fields(Settings)
        if field.default is None
    ]
    return f"unset {' '.join([OUTPUTS_FAILED, *places])}\n{exports}"


def _print_outputs(found: dict[str, str], *, json: bool) -> None:
    if json:
        print_json(found)
    else:
        print_table((value("output"), prose("value")), sorted(found.items()), empty="No outputs.")
