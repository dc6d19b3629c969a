"""The payment API on Lambda and PostgreSQL, in Pulumi.

A request comes through the web firewall and either API Gateway or the load balancer to a function
in a private network; everything is in one database. The clock delivers what was committed. Roles
are in `permissions.py`, alarms in `alarms.py`, sizes in `environments.py`, and the resources of a
part in the module of `parts` that is named for it.
"""

from remit_infra.graph.graph import Graph
from remit_infra.model.stack_config import file_configuration
from remit_infra.topologies.lambda_postgres.configuration import (
    PROJECT,
    TOPOLOGY,
    LambdaPostgresConfiguration,
    check_configuration,
)


def record_graph(suffix: str, **configuration: str) -> Graph:
    """The topology as data, with the stack's file and `configuration` by key. Raises Refused."""
    found = file_configuration(
        TOPOLOGY, PROJECT, LambdaPostgresConfiguration, suffix, **configuration
    )
    check_configuration(found)
    # What the program is made with takes a second to import.
    from remit_infra.components.context import nowhere
    from remit_infra.graph.pulumi_recorder import record
    from remit_infra.topologies.lambda_postgres.program import build

    return record(
        lambda: vars(build(found, nowhere(found.aws_region))),
        topology=TOPOLOGY,
        suffix=suffix,
        project=PROJECT,
    )
