"""`remit deploy`, `destroy` and `outputs` for fargate-aurora.

The first deployment makes the image repository alone, because a task needs an image in it. Every
deployment builds the image, unless one with the same content is there, runs the migration, and
then replaces the tasks.
"""

import socket
from collections.abc import Iterator, Mapping
from typing import Any

from remit.entrypoints.cli.terminal import Steps
from remit_infra.build import container_image
from remit_infra.deploy.operator_settings import task_settings
from remit_infra.deploy.pulumi_stack import fetch_authorities, require_pulumi
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
from remit_infra.model.aws_account import (
    Clients,
    Problem,
)
from remit_infra.model.stack_config import read_configuration_file
from remit_infra.topologies.fargate_aurora import record_graph
from remit_infra.topologies.fargate_aurora.configuration import (
    PROJECT,
    TOPOLOGY,
    FargateAuroraConfiguration,
)

IPV6_SERVICES = (
    *("api.ecr", "kms", "logs", "monitoring", "secretsmanager", "sns", "sqs", "sts", "xray"),
)
"""The services that tasks call at `<service>.<region>.api.aws`, which must have IPv6 addresses."""

FOUNDATION_RESOURCES = 14
"""The number of resources in the foundation: roles, keys and the repository."""


def _configuration(suffix: str, overrides: Mapping[str, str]) -> FargateAuroraConfiguration:
    return read_configuration_file(
        TOPOLOGY, PROJECT, FargateAuroraConfiguration, suffix, **overrides
    )


def _program(suffix: str, overrides: Mapping[str, str]) -> Program:
    configuration = _configuration(suffix, overrides)

    def program() -> Mapping[str, Any]:
        # Importing the program takes a second.
        from remit_infra.components.context import AwsEnvironment
        from remit_infra.topologies.fargate_aurora.program import build

        return build(
            configuration, AwsEnvironment.lookup(configuration.aws_region, configuration.zones)
        )

    return program


def _foundation_program(configuration: FargateAuroraConfiguration) -> Program:
    def program() -> Mapping[str, Any]:
        from remit_infra.components.context import AwsEnvironment
        from remit_infra.topologies.fargate_aurora.program import make_foundation

        make_foundation(
            configuration, AwsEnvironment.lookup(configuration.aws_region, configuration.zones)
        )
        return {}

    return program


FARGATE_AURORA = PulumiTopology(
    name=TOPOLOGY,
    project=PROJECT,
    program=_program,
    region=lambda suffix: _configuration(suffix, {}).aws_region,
    record=record_graph,
)


def deploy(suffix: str, *, architecture: str, ask: bool, **options: str | None) -> dict[str, str]:
    """Checks, shows the plan, asks, builds and pushes the image, deploys. Writes the outputs and
    returns them. `options` are configuration by key.

    Raises ConfigurationError, DeployError.
    """
    overrides = {key: value for key, value in options.items() if value is not None}
    overrides |= {"architecture": architecture}
    steps = Steps()
    # Recording comes first: it needs no account, and finds what is wrong in the configuration.
    with steps.step("recording the program"):
        graph = record_graph(suffix, **overrides)
    require_pulumi()
    clients, account, _ = named_account(suffix)
    configuration = _configuration(suffix, overrides)
    with steps.step("checking the account"):
        require_no_problems(problems(clients, configuration))
    image_plan = container_image.plan_image(fetch_authorities, architecture=architecture)
    steps.note(f"image {image_plan.tag}")
    show_plan(graph)
    confirm(f"Deploy to {account}?", ask=ask)
    if not container_image.has_repository(suffix, clients):
        foundation = FARGATE_AURORA.stack(suffix, overrides, _foundation_program(configuration))
        with steps.step("making the repository") as progress:
            foundation.up(progress, FOUNDATION_RESOURCES)
    with steps.step("building and pushing the image"):
        image = container_image.publish_image(suffix, image_plan, clients, say=steps.note)
    steps.note(f"image: {image.dual_stack_uri}")
    stack = FARGATE_AURORA.stack(suffix, overrides | {"image": image.dual_stack_uri})
    with steps.step("deploying") as progress:
        outputs = stack.up(progress, len(graph.resources))
    write_outputs(OUTPUTS, outputs)
    return outputs


def problems(clients: Clients, configuration: FargateAuroraConfiguration) -> Iterator[Problem]:
    """The obstacles in the account and the region to a deployment, or to its tasks."""
    settings = clients("ecs").list_account_settings(name="dualStackIPv6", effectiveSettings=True)[
        "settings"
    ]
    if not any(setting["value"] in ("enabled", "on") for setting in settings):
        yield Problem(
            "addresses",
            "Tasks get no addresses of IPv6 in this account and region: `aws ecs "
            "put-account-setting-default --name dualStackIPv6 --value enabled`.",
        )
    if configuration.nat_gateways:
        return
    missing = [
        service
        for service in IPV6_SERVICES
        if not has_ipv6(f"{service}.{configuration.aws_region}.api.aws")
    ]
    if missing:
        yield Problem(
            "addresses",
            f"{', '.join(missing)} cannot be asked over IPv6 in {configuration.aws_region}, as "
            "far as this machine's DNS knows: set natGateways to 1.",
        )


def has_ipv6(host: str) -> bool:
    """Whether this machine's DNS has an IPv6 address for the host."""
    try:
        return bool(socket.getaddrinfo(host, 443, socket.AF_INET6, socket.SOCK_STREAM))
    except socket.gaierror:
        return False


def destroy(suffix: str, *, ask: bool) -> None:
    FARGATE_AURORA.destroy(suffix, ask=ask)


def outputs(suffix: str) -> dict[str, str]:
    return FARGATE_AURORA.outputs(suffix)


def exports(suffix: str) -> str:
    """The service's settings, as lines for an operator's shell. Needs AWS and not Pulumi."""
    return settings_exports(suffix, task_settings)
