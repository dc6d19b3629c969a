"""What can be done with a payment, and the operations at a processor beneath."""
