"""Where card numbers wait, unreadable to who has the database alone."""

from typing import Protocol

from remit.domain.card import Card


class Vault(Protocol):
    """Keeps card numbers unreadable to whoever has the database alone."""

    async def encrypt(self, card: Card, context: str) -> str:
        """Ciphertext bound to `context`: it opens under no other."""
        ...

    async def decrypt(self, encrypted: str, context: str) -> Card:
        """Raises CardUnreadable where it was not sealed under this key for this context."""
        ...

    def fingerprint(self, data: bytes) -> str:
        """A keyed digest: equal for equal data, and useless to guess card numbers with."""
        ...
