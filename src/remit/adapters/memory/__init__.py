"""Adapters in the memory of one process: for tests, and for limits and sessions without Redis."""
