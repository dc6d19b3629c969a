"""Protocols of everything outside the service. `App` holds one implementation of each."""
