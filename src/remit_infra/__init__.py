"""The infrastructure that runs Remit in AWS, as programs that share one vocabulary."""
