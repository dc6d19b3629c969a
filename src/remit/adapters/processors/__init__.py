"""Processors: the simulated one, and those that move real money."""
