"""fargate-aurora, in Pulumi: the service on ECS Fargate and Aurora, in dev, staging and prod.

A request passes the web firewall and the load balancer to a task of the API. Payments that are
processed later wait in a queue for the worker's tasks. Both run one image, in a network without a
NAT gateway. One database decides; the cache only limits and remembers. `program.py` makes the
resources from `components`; roles, alarms and sizes are tables in `model`.
"""

from msgspec.structs import replace

from remit_infra.graph.graph import Graph
from remit_infra.model.stack_config import read_configuration_file
from remit_infra.topologies.fargate_aurora.configuration import (
    PROJECT,
    TOPOLOGY,
    FargateAuroraConfiguration,
)


def record_graph(suffix: str, **overrides: str) -> Graph:
    """The resources of the topology, for the stack's file with `overrides` by key.

    Raises ConfigurationError.
    """
    configuration = read_configuration_file(
        TOPOLOGY, PROJECT, FargateAuroraConfiguration, suffix, **overrides
    )
    names = configuration.names
    if configuration.image is None:
        # The first deployment builds the image; until then this name stands for it.
        image = f"{names('repository', 'payment-service')}:first"
        host = f"123456789012.dkr-ecr.{configuration.aws_region}.on.aws"
        configuration = replace(configuration, image=f"{host}/{image}")
    # Importing the program takes a second.
    from remit_infra.components.context import AwsEnvironment
    from remit_infra.graph.pulumi_recorder import record
    from remit_infra.topologies.fargate_aurora.program import build

    aws_environment = AwsEnvironment.offline(configuration.aws_region, configuration.zones)
    return record(
        lambda: build(configuration, aws_environment),
        topology=TOPOLOGY,
        suffix=suffix,
        project=PROJECT,
    )
