"""The two-step endpoints: validate a payment, then process it, and read it at any time."""
