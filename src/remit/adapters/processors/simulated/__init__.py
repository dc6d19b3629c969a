"""The simulated processor, and the stores for its own books."""
