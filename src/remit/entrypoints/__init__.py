"""Where requests, messages and operators come in. Thin: shapes and statuses, no decisions."""
