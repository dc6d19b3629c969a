"""Restores a store to a point in time, and proves the copy."""
