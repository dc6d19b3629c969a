"""Databases, caches, buckets, queues and topics."""
