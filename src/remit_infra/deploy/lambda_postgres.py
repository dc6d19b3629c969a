"""`remit deploy`, `destroy` and `outputs` for lambda-postgres: what they look at, say and ask."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from remit_infra.build.lambda_package import DATABASE_CA, PYTHON, build_package
from remit_infra.deploy.cloudformation import as_exports
from remit_infra.deploy.lambda_dynamodb import (
    CODE,
    Bar,
    confirm,
    require_none,
    say,
    show_plan,
    write,
)
from remit_infra.deploy.operator_settings import operator_settings
from remit_infra.deploy.pulumi_stack import fetch_authorities, release, require_pulumi
from remit_infra.deploy.pulumi_topology import OUTPUTS, Program, PulumiTopology
from remit_infra.graph.graph import Graph
from remit_infra.model.aws_account import (
    Clients,
    DeployError,
    account_of,
    account_problems,
    aws_clients,
)
from remit_infra.model.environments import Names
from remit_infra.model.stack_config import file_configuration
from remit_infra.topologies.lambda_postgres import record_graph
from remit_infra.topologies.lambda_postgres.configuration import (
    MODULES,
    PROJECT,
    TOPOLOGY,
    LambdaPostgresConfiguration,
    check_configuration,
)


def _configuration(suffix: str, given: Mapping[str, str]) -> LambdaPostgresConfiguration:
    return file_configuration(TOPOLOGY, PROJECT, LambdaPostgresConfiguration, suffix, **given)


def _program(suffix: str, given: Mapping[str, str]) -> Program:
    configuration = _configuration(suffix, given)

    def program() -> Mapping[str, Any]:
        # The program's own imports take a second.
        from remit_infra.components.context import here
        from remit_infra.topologies.lambda_postgres.program import build as make

        check_configuration(configuration)
        return vars(make(configuration, here(configuration.aws_region)))

    return program


LAMBDA_POSTGRES = PulumiTopology(
    name=TOPOLOGY,
    project=PROJECT,
    program=_program,
    region=lambda suffix: _configuration(suffix, {}).aws_region,
)


def deploy(suffix: str, *, architecture: str, ask: bool, **more: str | None) -> dict[str, str]:
    """Looks, packages, shows the plan, asks, deploys, releases. The outputs are answered and
    written. Raises DeployError, PackageError, Refused.
    """
    given = {key: value for key, value in more.items() if value is not None}
    given |= {"architecture": architecture, "codePath": str(CODE.absolute())}
    # First what needs no account: a name that does not fit, a certificate that is missing.
    graph = record_graph(suffix, **given)
    require_pulumi()
    clients, region = aws_clients()
    account = account_of(clients)
    require_none(account_problems(clients, _reserved(clients, graph)))
    code = build_package(
        CODE,
        python=PYTHON,
        architecture=architecture,
        database_ca=fetch_authorities(region, CODE.with_name(DATABASE_CA)),
    )
    say(f"account {account}, region {region}, stack {suffix}")
    say(f"functions: {code.bytes / 1e6:.1f} MB for Python {PYTHON} on {architecture}")
    show_plan(graph)
    confirm(f"Deploy to {account}?", ask=ask)
    deployment = LAMBDA_POSTGRES.deployment(suffix, given)
    with Bar("deploying") as told:
        outputs = deployment.up(told, len(graph.resources))
    release(clients, Names(suffix), (n for n in MODULES if n != "payment-operator"), say)
    write(OUTPUTS, outputs)
    return outputs


def destroy(suffix: str, *, ask: bool) -> None:
    LAMBDA_POSTGRES.destroy(
        suffix, lambda: len(record_graph(suffix, allowHttp="true").resources), ask=ask
    )


def outputs(suffix: str) -> dict[str, str]:
    return LAMBDA_POSTGRES.outputs(suffix)


def exports(suffix: str) -> str:
    """What an operator's shell needs, as lines for it. Asks AWS alone."""
    clients, _ = aws_clients()
    try:
        settings = operator_settings(clients, suffix)
    except ClientError as error:
        raise DeployError(f"{suffix} is not deployed here: {error}") from error
    return as_exports(settings)


def _reserved(clients: Clients, graph: Graph) -> int:
    """The concurrency that functions which are not there yet will reserve."""
    wanted = {
        function.properties["name"]: function.properties["reservedConcurrentExecutions"]
        for function in graph.of("aws:lambda/function:Function")
    }
    pages = clients("lambda").get_paginator("list_functions").paginate()
    there = {function["FunctionName"] for page in pages for function in page["Functions"]}
    return sum(number for name, number in wanted.items() if name not in there)
