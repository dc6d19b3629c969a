"""The key that signs checkpoints of the audit trail on a laptop: Ed25519, from a file."""

from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.adapters.files.vault import read_or_make_key


class FileSigner:
    """Signer with the key in `key_file`, which is made at first use for its owner alone.

    Raises VaultError for a key file that others can read, or of the wrong size.
    """

    key_id = "file"

    def __init__(self, key_file: Path) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(read_or_make_key(key_file))

    async def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    async def is_valid(self, message: bytes, signature: bytes) -> bool:
        try:
            self._key.public_key().verify(signature, message)
        except InvalidSignature:
            return False
        return True
