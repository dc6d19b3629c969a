"""The payment API on Fargate and Aurora, in Pulumi: dev, staging and prod.

A request comes through the web firewall and the load balancer to the API's tasks; what is done
later waits in a queue for the worker's. Both are one image, in a network without a NAT gateway.
Everything that is decided is in one database; the cache only limits and remembers. Roles are in
`permissions.py`, alarms in `alarms.py`, sizes in `environments.py`, and the resources of a part in
the module of `parts` that is named for it.
"""

from msgspec.structs import replace

from remit_infra.graph.graph import Graph
from remit_infra.model.stack_config import file_configuration
from remit_infra.topologies.fargate_aurora.configuration import (
    PROJECT,
    TOPOLOGY,
    FargateAuroraConfiguration,
    check_configuration,
)


def record_graph(suffix: str, **configuration: str) -> Graph:
    """The topology as data, with the stack's file and `configuration` by key. Raises Refused."""
    found = file_configuration(
        TOPOLOGY, PROJECT, FargateAuroraConfiguration, suffix, **configuration
    )
    names = check_configuration(found)
    if found.image is None:
        # To look at it, the image that the first deployment builds.
        own = f"{names('repository', 'payment-service')}:first"
        found = replace(found, image=f"123456789012.dkr-ecr.{found.aws_region}.on.aws/{own}")
    # What the program is made with takes a second to import.
    from remit_infra.components.context import nowhere
    from remit_infra.graph.pulumi_recorder import record
    from remit_infra.topologies.fargate_aurora.program import build

    return record(
        lambda: vars(build(found, nowhere(found.aws_region, found.zones))),
        topology=TOPOLOGY,
        suffix=suffix,
        project=PROJECT,
    )
