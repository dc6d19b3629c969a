"""What Pulumi runs: the stack's configuration, and the topology that it makes."""

import pulumi

from remit_infra.components.context import here
from remit_infra.model.stack_config import configuration_of_stack
from remit_infra.topologies.lambda_postgres import PROJECT, Configuration
from remit_infra.topologies.lambda_postgres.program import build

configuration = configuration_of_stack(PROJECT, Configuration)
outputs = build(configuration, here(configuration.aws_region))
for name, value in vars(outputs).items():
    pulumi.export(name, value)
