"""What watches over the money: audit trail, reconciliation, health, metrics, and API keys."""
