"""The port that encrypts card numbers."""

from typing import Protocol

from remit.domain.card import Card


class Vault(Protocol):
    """Encrypts cards, so that the database alone does not reveal a card number."""

    async def encrypt(self, card: Card, context: str) -> str:
        """The ciphertext, bound to `context`. It cannot be decrypted under another context."""
        ...

    async def decrypt(self, encrypted: str, context: str) -> Card:
        """Raises CardUnreadable unless it was encrypted under this key for this context."""
        ...

    def fingerprint(self, data: bytes) -> str:
        """A keyed digest. It is equal for equal data, and does not help to guess card numbers."""
        ...
