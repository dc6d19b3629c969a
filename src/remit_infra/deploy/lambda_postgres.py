"""`remit deploy`, `destroy` and `outputs` for lambda-postgres."""

from collections.abc import Mapping
from typing import Any

from remit.entrypoints.cli.terminal import Steps
from remit_infra.build.lambda_package import DATABASE_CA, PYTHON, build_package
from remit_infra.deploy.lambda_dynamodb import CODE
from remit_infra.deploy.operator_settings import operator_settings
from remit_infra.deploy.pulumi_stack import fetch_authorities, release, require_pulumi
from remit_infra.deploy.pulumi_topology import (
    OUTPUTS,
    Program,
    PulumiTopology,
    named_account,
    settings_exports,
)
from remit_infra.deploy.terminal import (
    confirm,
    require_no_problems,
    show_plan,
    write_outputs,
)
from remit_infra.graph.graph import Graph
from remit_infra.model.aws_account import (
    Clients,
    account_problems,
)
from remit_infra.model.environments import Names
from remit_infra.model.stack_config import read_configuration_file
from remit_infra.topologies.lambda_postgres import record_graph
from remit_infra.topologies.lambda_postgres.configuration import (
    FUNCTIONS,
    PROJECT,
    TOPOLOGY,
    LambdaPostgresConfiguration,
)


def _configuration(suffix: str, overrides: Mapping[str, str]) -> LambdaPostgresConfiguration:
    return read_configuration_file(
        TOPOLOGY, PROJECT, LambdaPostgresConfiguration, suffix, **overrides
    )


def _program(suffix: str, overrides: Mapping[str, str]) -> Program:
    configuration = _configuration(suffix, overrides)

    def program() -> Mapping[str, Any]:
        # Importing the program takes a second.
        from remit_infra.components.context import AwsEnvironment
        from remit_infra.topologies.lambda_postgres.program import build

        return build(configuration, AwsEnvironment.lookup(configuration.aws_region))

    return program


LAMBDA_POSTGRES = PulumiTopology(
    name=TOPOLOGY,
    project=PROJECT,
    program=_program,
    region=lambda suffix: _configuration(suffix, {}).aws_region,
    record=record_graph,
)


def deploy(suffix: str, *, architecture: str, ask: bool, **options: str | None) -> dict[str, str]:
    """Checks, packages, shows the plan, asks, deploys, releases. Writes the outputs and returns
    them. `options` are configuration by key.

    Raises ConfigurationError, DeployError, PackageError.
    """
    overrides = {key: value for key, value in options.items() if value is not None}
    overrides |= {"architecture": architecture, "codePath": str(CODE.absolute())}
    steps = Steps()
    # Recording comes first: it needs no account, and finds what is wrong in the configuration.
    with steps.step("recording the program"):
        graph = record_graph(suffix, **overrides)
    require_pulumi()
    clients, account, region = named_account(suffix)
    with steps.step("checking the account"):
        require_no_problems(account_problems(clients, _new_concurrency(clients, graph)))
    with steps.step("packaging the functions"):
        package = build_package(
            CODE,
            python=PYTHON,
            architecture=architecture,
            database_ca=fetch_authorities(region, CODE.with_name(DATABASE_CA)),
        )
    steps.note(f"functions: {package.bytes / 1e6:.1f} MB for Python {PYTHON} on {architecture}")
    show_plan(graph)
    confirm(f"Deploy to {account}?", ask=ask)
    stack = LAMBDA_POSTGRES.stack(suffix, overrides)
    with steps.step("deploying") as progress:
        outputs = stack.up(progress, len(graph.resources))
    released = (function.name for function in FUNCTIONS if function.module != "operator")
    with steps.step("releasing the functions"):
        release(clients, Names(suffix), released, steps.note)
    write_outputs(OUTPUTS, outputs)
    return outputs


def destroy(suffix: str, *, ask: bool) -> None:
    LAMBDA_POSTGRES.destroy(suffix, ask=ask)


def outputs(suffix: str) -> dict[str, str]:
    return LAMBDA_POSTGRES.outputs(suffix)


def exports(suffix: str) -> str:
    """The service's settings, as lines for an operator's shell. Needs AWS and not Pulumi."""
    return settings_exports(suffix, operator_settings)


def _new_concurrency(clients: Clients, graph: Graph) -> int:
    """The concurrency that the functions reserve which do not exist yet."""
    reserved = {
        function.properties["name"]: function.properties["reservedConcurrentExecutions"]
        for function in graph.of("aws:lambda/function:Function")
    }
    pages = clients("lambda").get_paginator("list_functions").paginate()
    existing = {function["FunctionName"] for page in pages for function in page["Functions"]}
    return sum(number for name, number in reserved.items() if name not in existing)
