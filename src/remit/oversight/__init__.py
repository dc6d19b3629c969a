"""Oversight of payments: audit trail, reconciliation, health monitor, metrics and API keys."""
