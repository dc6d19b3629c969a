"""A topology as data: recorded from its program, written as Terraform JSON, and scanned."""
