"""State that the processes share in Redis: rate limits, cached reads, sessions. It never decides
about money.
"""
