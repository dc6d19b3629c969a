"""The use cases of a payment, and the operations at a processor that they call."""
