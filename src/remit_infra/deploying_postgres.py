"""`remit deploy`, `destroy` and `outputs` for lambda-postgres: what they look at, say and ask."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from remit_infra.configured import DEPLOYMENTS, configuration_of_file
from remit_infra.deploying import CODE, Bar, confirm, say, show_plan
from remit_infra.deployment import (
    Clients,
    DeployError,
    account_problems,
    as_exports,
    aws_clients,
)
from remit_infra.environments import Names
from remit_infra.graph import Graph
from remit_infra.operating import operator_settings
from remit_infra.package import DATABASE_CA, PYTHON, build
from remit_infra.pulumi_deployment import (
    PulumiDeployment,
    fetch_authorities,
    release,
    require_pulumi,
)
from remit_infra.topologies.lambda_postgres import recorded
from remit_infra.topologies.lambda_postgres.configuration import (
    MODULES,
    PROJECT,
    TOPOLOGY,
    Configuration,
    checked,
)

OUTPUTS = Path("pulumi-outputs/flat-outputs.json")


def deploy(suffix: str, *, architecture: str, ask: bool, **more: str | None) -> dict[str, str]:
    """Looks, packages, shows the plan, asks, deploys, releases. The outputs are answered and
    written. Raises DeployError, PackageError, Refused.
    """
    given = {key: value for key, value in more.items() if value is not None}
    given |= {"architecture": architecture, "codePath": str(CODE.absolute())}
    # First what needs no account: a name that does not fit, a certificate that is missing.
    graph = recorded(suffix, **given)
    require_pulumi()
    clients, region = aws_clients()
    account = _account(clients)
    if problems := list(account_problems(clients, _reserved(clients, graph))):
        raise DeployError("\n".join(f"{one.check}: {one.problem}" for one in problems))
    code = build(
        CODE,
        python=PYTHON,
        architecture=architecture,
        database_ca=fetch_authorities(region, CODE.with_name(DATABASE_CA)),
    )
    say(f"account {account}, region {region}, stack {suffix}")
    say(f"functions: {code.bytes / 1e6:.1f} MB for Python {PYTHON} on {architecture}")
    show_plan(graph)
    confirm(f"Deploy to {account}?", ask=ask)
    deployment = _deployment(suffix, given)
    with Bar("deploying") as told:
        outputs = deployment.up(told, len(graph.resources))
    release(clients, Names(suffix), (n for n in MODULES if n != "payment-operator"), say)
    OUTPUTS.parent.mkdir(exist_ok=True)
    OUTPUTS.write_text(json.dumps(outputs, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return outputs


def destroy(suffix: str, *, ask: bool) -> None:
    names = Names(suffix)
    require_pulumi()
    if names.environment.deletion_protection:
        raise DeployError(
            f"{suffix} is protected from deletion: deploy it with deletion_protection=False in "
            "src/remit_infra/environments.py first."
        )
    clients, _ = aws_clients()
    account = _account(clients)
    confirm(f"Delete the stack {suffix} in {account}, with every payment in it?", ask=ask)
    deployment = _deployment(suffix, {})
    with Bar("destroying") as told:
        deployment.destroy(told, len(recorded(suffix, allowHttp="true").resources))
    say(f"{suffix} is gone")


def outputs(suffix: str) -> dict[str, str]:
    Names(suffix)
    require_pulumi()
    return _deployment(suffix, {}).outputs()


def exports(suffix: str) -> str:
    """What an operator's shell needs, as lines for it. Asks AWS alone."""
    clients, _ = aws_clients()
    try:
        settings = operator_settings(clients, suffix)
    except ClientError as error:
        raise DeployError(f"{suffix} is not deployed here: {error}") from error
    return as_exports(settings)


def _account(clients: Clients) -> str:
    try:
        account: str = clients("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise DeployError(f"AWS does not take these credentials: {error}") from error
    return account


def _reserved(clients: Clients, graph: Graph) -> int:
    """The concurrency that functions which are not there yet will reserve."""
    wanted = {
        function.properties["name"]: function.properties["reservedConcurrentExecutions"]
        for function in graph.of("aws:lambda/function:Function")
    }
    pages = clients("lambda").get_paginator("list_functions").paginate()
    there = {function["FunctionName"] for page in pages for function in page["Functions"]}
    return sum(number for name, number in wanted.items() if name not in there)


def _deployment(suffix: str, given: Mapping[str, str]) -> PulumiDeployment:
    configuration = configuration_of_file(TOPOLOGY, PROJECT, Configuration, suffix, **given)

    def program() -> Mapping[str, Any]:
        # The program's own imports take a second.
        from remit_infra.parts.ground import here
        from remit_infra.topologies.lambda_postgres.program import build as make

        checked(configuration)
        return vars(make(configuration, here(configuration.aws_region)))

    return PulumiDeployment(
        PROJECT,
        suffix,
        folder=DEPLOYMENTS / TOPOLOGY,
        program=program,
        configuration={"aws:region": configuration.aws_region},
    )
