"""What happens after a commit: messages are relayed, work is taken from the queue."""
