"""Restores a store to a point in time, and verifies the copy."""
