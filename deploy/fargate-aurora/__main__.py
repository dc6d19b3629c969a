"""What Pulumi runs: the stack's configuration, and the topology that it makes."""

import pulumi

from remit_infra.components.context import here
from remit_infra.model.stack_config import stack_configuration
from remit_infra.topologies.fargate_aurora import PROJECT, Configuration
from remit_infra.topologies.fargate_aurora.program import build

configuration = stack_configuration(PROJECT, Configuration)
outputs = build(configuration, here(configuration.aws_region, configuration.zones))
for name, value in vars(outputs).items():
    pulumi.export(name, value)
