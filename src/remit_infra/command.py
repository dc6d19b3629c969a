"""`remit`, whole: the service's commands and those that build and run its infrastructure."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from remit.entrypoints.cli import cli
from remit.entrypoints.cli import main as run
from remit.entrypoints.console import Json, fail, print_json


def main() -> None:
    run()


@cli.command
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
    from remit_infra.package import PackageError, build

    try:
        made = build(target, python=python, architecture=architecture)
    except PackageError as error:
        fail(str(error))
    if json:
        print_json(made)
    else:
        print(f"{made.path}: {made.bytes / 1e6:.1f} MB, {made.files} files, sha256 {made.sha256}")
