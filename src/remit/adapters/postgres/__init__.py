"""The database ports on PostgreSQL, and the laptop's embedded server."""
