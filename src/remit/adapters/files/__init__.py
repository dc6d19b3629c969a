"""Adapters to files of this machine: the laptop's bucket, topics and vault."""
