"""The service killed under load, again and again, and what must be true afterwards."""
