"""lambda-postgres, in Pulumi: the service on Lambda and PostgreSQL in RDS.

A request passes the web firewall and API Gateway or the load balancer to a function in a private
network. All data is in one database. A schedule delivers committed messages. `program.py` makes the
resources from `components`; roles, alarms and sizes are tables in `model`.
"""

from remit_infra.graph.graph import Graph
from remit_infra.model.stack_config import read_configuration_file
from remit_infra.topologies.lambda_postgres.configuration import (
    PROJECT,
    TOPOLOGY,
    LambdaPostgresConfiguration,
)


def record_graph(suffix: str, **overrides: str) -> Graph:
    """The resources of the topology, for the stack's file with `overrides` by key.

    Raises ConfigurationError.
    """
    configuration = read_configuration_file(
        TOPOLOGY, PROJECT, LambdaPostgresConfiguration, suffix, **overrides
    )
    # Importing the program takes a second.
    from remit_infra.components.context import AwsEnvironment
    from remit_infra.graph.pulumi_recorder import record
    from remit_infra.topologies.lambda_postgres.program import build

    return record(
        lambda: build(configuration, AwsEnvironment.offline(configuration.aws_region)),
        topology=TOPOLOGY,
        suffix=suffix,
        project=PROJECT,
    )
