"""The vocabulary of every topology, as data: no tool's SDK is imported here."""
