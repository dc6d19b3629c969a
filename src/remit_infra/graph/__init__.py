"""A topology as data: recorded, written as Terraform JSON, scanned."""
