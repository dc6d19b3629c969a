"""The simulated processor, and where it keeps its own books."""
