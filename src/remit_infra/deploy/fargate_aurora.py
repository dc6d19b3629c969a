"""`remit deploy`, `destroy` and `outputs` for fargate-aurora: what they look at, say and ask.

The first deployment makes the repository by itself, for the image must be in it before there can be
a task. Every deployment builds the image from what is here, unless the same content is there
already, runs the migration, and then replaces the tasks.
"""

import socket
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from remit_infra.build import container_image
from remit_infra.deploy.cloudformation import as_exports
from remit_infra.deploy.lambda_dynamodb import (
    Bar,
    confirm,
    require_none,
    say,
    show_plan,
    write,
)
from remit_infra.deploy.operator_settings import task_settings
from remit_infra.deploy.pulumi_stack import fetch_authorities, require_pulumi
from remit_infra.deploy.pulumi_topology import OUTPUTS, Program, PulumiTopology
from remit_infra.model.aws_account import (
    Clients,
    DeployError,
    Problem,
    account_of,
    aws_clients,
)
from remit_infra.model.stack_config import file_configuration
from remit_infra.topologies.fargate_aurora import record_graph
from remit_infra.topologies.fargate_aurora.configuration import (
    PROJECT,
    TOPOLOGY,
    FargateAuroraConfiguration,
    check_configuration,
)

ASKED_OVER_IPV6 = (
    *("api.ecr", "kms", "logs", "monitoring", "secretsmanager", "sns", "sqs", "sts", "xray"),
)
"""The services that tasks ask for at `<service>.<region>.api.aws`, which must have IPv6 there."""


def _configuration(suffix: str, given: Mapping[str, str]) -> FargateAuroraConfiguration:
    return file_configuration(TOPOLOGY, PROJECT, FargateAuroraConfiguration, suffix, **given)


def _program(suffix: str, given: Mapping[str, str]) -> Program:
    configuration = _configuration(suffix, given)

    def program() -> Mapping[str, Any]:
        # The program's own imports take a second.
        from remit_infra.components.context import here
        from remit_infra.topologies.fargate_aurora.program import build

        return vars(build(configuration, here(configuration.aws_region, configuration.zones)))

    return program


FARGATE_AURORA = PulumiTopology(
    name=TOPOLOGY,
    project=PROJECT,
    program=_program,
    region=lambda suffix: _configuration(suffix, {}).aws_region,
)


def deploy(suffix: str, *, architecture: str, ask: bool, **more: str | None) -> dict[str, str]:
    """Looks, shows the plan, asks, builds and pushes the image, deploys. The outputs are answered
    and written. Raises DeployError, Refused.
    """
    given = {key: value for key, value in more.items() if value is not None}
    given |= {"architecture": architecture}
    # First what needs no account: a name that does not fit, a certificate that is missing.
    graph = record_graph(suffix, **given)
    configuration = _configuration(suffix, given)
    require_pulumi()
    clients, region = aws_clients()
    account = account_of(clients)
    require_none(problems(clients, configuration))
    planned = container_image.plan_image(fetch_authorities, architecture=architecture)
    say(f"account {account}, region {region}, stack {suffix}, image {planned.tag}")
    show_plan(graph)
    confirm(f"Deploy to {account}?", ask=ask)
    if not container_image.has_repository(suffix, clients):
        with Bar("making the repository") as told:
            deployment = FARGATE_AURORA.deployment(suffix, given, _foundation(configuration))
            deployment.up(told, FOUNDATION_RESOURCES)
    made = container_image.publish_image(suffix, planned, clients, said=say)
    say(f"image: {made.dual_stack_uri}")
    deployment = FARGATE_AURORA.deployment(suffix, given | {"image": made.dual_stack_uri})
    with Bar("deploying") as told:
        outputs = deployment.up(told, len(graph.resources))
    write(OUTPUTS, outputs)
    return outputs


FOUNDATION_RESOURCES = 14
"""Roles, keys and the repository."""


def _foundation(configuration: FargateAuroraConfiguration) -> Program:
    def program() -> Mapping[str, Any]:
        from remit_infra.components.context import here
        from remit_infra.topologies.fargate_aurora.program import found

        names = check_configuration(configuration)
        found(configuration, here(configuration.aws_region, configuration.zones), names)
        return {}

    return program


def problems(clients: Clients, configuration: FargateAuroraConfiguration) -> Iterator[Problem]:
    """What of account and region would make a deployment fail, or its tasks."""
    setting = clients("ecs").list_account_settings(name="dualStackIPv6", effectiveSettings=True)[
        "settings"
    ]
    if not any(one["value"] in ("enabled", "on") for one in setting):
        yield Problem(
            "addresses",
            "Tasks get no addresses of IPv6 in this account and region: `aws ecs "
            "put-account-setting-default --name dualStackIPv6 --value enabled`.",
        )
    if configuration.nat_gateways:
        return
    missing = [
        service
        for service in ASKED_OVER_IPV6
        if not has_ipv6(f"{service}.{configuration.aws_region}.api.aws")
    ]
    if missing:
        yield Problem(
            "addresses",
            f"{', '.join(missing)} cannot be asked over IPv6 in {configuration.aws_region}, as "
            "far as this machine's DNS knows: set natGateways to 1.",
        )


def has_ipv6(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, 443, socket.AF_INET6, socket.SOCK_STREAM))
    except socket.gaierror:
        return False


def destroy(suffix: str, *, ask: bool) -> None:
    FARGATE_AURORA.destroy(
        suffix, lambda: len(record_graph(suffix, allowHttp="true").resources), ask=ask
    )


def outputs(suffix: str) -> dict[str, str]:
    return FARGATE_AURORA.outputs(suffix)


def exports(suffix: str) -> str:
    """What an operator's shell needs, as lines for it. Asks AWS alone."""
    clients, _ = aws_clients()
    try:
        settings = task_settings(clients, suffix)
    except (BotoCoreError, ClientError) as error:
        raise DeployError(f"{suffix} is not deployed here: {error}") from error
    return as_exports(settings)
