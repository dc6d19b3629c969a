"""Databases, the cache, queues, topics and buckets."""
