"""The two-step endpoints: validate, process, look. The short way to take a payment."""
