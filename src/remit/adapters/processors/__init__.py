"""Adapters to payment processors. Only the simulated one exists so far."""
