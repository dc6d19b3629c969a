"""The commands of `remit` that build and run infrastructure."""
