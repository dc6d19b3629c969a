"""Networks, their subnets and their ways out."""
