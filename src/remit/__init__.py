"""Remit: a payment service. ARCHITECTURE.md describes its packages."""
