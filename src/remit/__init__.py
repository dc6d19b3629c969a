"""Remit: a payment service. The core knows money and payments; `app.py` picks what surrounds it."""
