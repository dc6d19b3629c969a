"""Assembly: chooses the adapter for each port. No other package does."""
