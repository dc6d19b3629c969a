"""Networks with their subnets, routes, security groups and network ACLs."""
