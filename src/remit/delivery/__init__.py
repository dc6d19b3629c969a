"""Everything after a commit: messages are relayed, work is handled, due records are swept up."""
