"""The three topologies in AWS: one package each, with its configuration and its program."""
