"""The program that Pulumi runs: reads the stack's configuration and makes the topology."""

import pulumi
from pulumi.runtime import get_config_env

from remit_infra.components.context import AwsEnvironment
from remit_infra.model.stack_config import read_configuration
from remit_infra.topologies.fargate_aurora.configuration import (
    PROJECT,
    FargateAuroraConfiguration,
)
from remit_infra.topologies.fargate_aurora.program import build

configuration = read_configuration(PROJECT, FargateAuroraConfiguration, get_config_env())
aws_environment = AwsEnvironment.lookup(configuration.aws_region, configuration.zones)
for name, value in build(configuration, aws_environment).items():
    pulumi.export(name, value)
