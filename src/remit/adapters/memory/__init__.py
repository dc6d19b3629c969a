"""Ports in the memory of one process: for tests, and for what each process keeps for itself."""
