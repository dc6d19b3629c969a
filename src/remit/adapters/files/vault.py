"""The vault: envelope encryption of cards, and keyed digests.

A data key encrypts cards with AES-256-GCM. A master key wraps the data key and encrypts no card.
Each ciphertext is stored with its wrapped data key, so the master key is enough to decrypt it. The
master key is a file on a laptop, and in AWS a KMS key (`adapters/aws/kms.py`).
"""

import base64
import hmac
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from remit.adapters.files.storage import flush_folder
from remit.domain.card import Card
from remit.domain.errors import CardUnreadable, RemitError

KEY_BYTES = 32
NONCE_BYTES = 12
CARDS_PER_DATA_KEY = 2**24
"""Far below the 2^32 messages that NIST SP 800-38D allows one key with random nonces."""


MAX_DATA_KEYS = 1_000
"""How many unwrapped data keys are kept in memory."""


class VaultError(RemitError):
    """The key file cannot be used. The message says why, and what to do."""


class _Encrypted(msgspec.Struct, frozen=True):
    wrapped_key: bytes
    nonce: bytes
    ciphertext: bytes


class MasterKey(Protocol):
    """Makes and unwraps data keys."""

    async def new_data_key(self) -> tuple[bytes, bytes]:
        """A new data key of 32 random bytes: plain, and wrapped."""
        ...

    async def unwrap(self, wrapped: bytes) -> bytes:
        """The plain data key. Raises CardUnreadable if another master key wrapped it."""
        ...


class EnvelopeVault:
    """Vault. Encrypts under data keys of `master`, each for a bounded number of cards."""

    def __init__(self, master: MasterKey, digest_key: Callable[[], bytes]) -> None:
        self._master = master
        self._digest_key = cache(digest_key)
        self._unwrapped: dict[bytes, AESGCM] = {}
        self._data_key: AESGCM | None = None
        self._wrapped_key = b""
        self._cards_left = 0

    async def encrypt(self, card: Card, context: str) -> str:
        data_key, wrapped_key = await self._encryption_key()
        nonce = os.urandom(NONCE_BYTES)
        ciphertext = data_key.encrypt(nonce, msgspec.json.encode(card), context.encode())
        encrypted = _Encrypted(wrapped_key, nonce, ciphertext)
        return base64.b64encode(msgspec.msgpack.encode(encrypted)).decode()

    async def decrypt(self, encrypted: str, context: str) -> Card:
        try:
            parts = msgspec.msgpack.decode(
                base64.b64decode(encrypted, validate=True), type=_Encrypted
            )
            data_key = await self._decryption_key(parts.wrapped_key)
            plain = data_key.decrypt(parts.nonce, parts.ciphertext, context.encode())
        except (InvalidTag, ValueError, msgspec.MsgspecError) as error:
            raise CardUnreadable(f"The card of {context} cannot be decrypted.") from error
        return msgspec.json.decode(plain, type=Card)

    def fingerprint(self, data: bytes) -> str:
        return hmac.digest(self._digest_key(), data, "sha256").hex()

    async def _encryption_key(self) -> tuple[AESGCM, bytes]:
        if self._data_key is None or self._cards_left == 0:
            key, self._wrapped_key = await self._master.new_data_key()
            self._data_key = AESGCM(key)
            self._cards_left = CARDS_PER_DATA_KEY
        self._cards_left -= 1
        return self._data_key, self._wrapped_key

    async def _decryption_key(self, wrapped: bytes) -> AESGCM:
        if self._data_key is not None and wrapped == self._wrapped_key:
            return self._data_key
        if wrapped not in self._unwrapped:
            key = AESGCM(await self._master.unwrap(wrapped))
            if len(self._unwrapped) >= MAX_DATA_KEYS:
                self._unwrapped.clear()
            self._unwrapped[wrapped] = key
        return self._unwrapped[wrapped]


class FileKey:
    """A master key in memory. It wraps data keys with AES-256-GCM."""

    def __init__(self, key: bytes) -> None:
        self._wrapping_key = AESGCM(key)

    async def new_data_key(self) -> tuple[bytes, bytes]:
        key = AESGCM.generate_key(KEY_BYTES * 8)
        nonce = os.urandom(NONCE_BYTES)
        return key, nonce + self._wrapping_key.encrypt(nonce, key, b"data key")

    async def unwrap(self, wrapped: bytes) -> bytes:
        nonce, encrypted = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        try:
            return self._wrapping_key.decrypt(nonce, encrypted, b"data key")
        except (InvalidTag, ValueError) as error:
            raise CardUnreadable("The data key was wrapped by another master key.") from error


class FileVault(EnvelopeVault):
    """Vault under the master key in `key_file`, which is made at first use for its owner alone.

    Raises VaultError for a key file that others can read, or of the wrong size.
    """

    def __init__(self, key_file: Path) -> None:
        master = read_or_make_key(key_file)
        super().__init__(
            FileKey(_derive_key(master, b"remit wrapping key")),
            lambda: _derive_key(master, b"remit fingerprint key"),
        )


def _derive_key(master: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose).derive(master)


def read_or_make_key(key_file: Path) -> bytes:
    """The key in the file. If two processes make it at once, both use the key of the first."""
    if not key_file.exists():
        # Only its owner can read a temporary file, from the start, and no other has its name.
        with tempfile.NamedTemporaryFile(dir=key_file.parent, prefix=key_file.name) as draft:
            draft.write(os.urandom(KEY_BYTES))
            draft.flush()
            os.fsync(draft.fileno())
            with suppress(FileExistsError):
                key_file.hardlink_to(draft.name)
        flush_folder(key_file.parent)
    if stat.S_IMODE(key_file.stat().st_mode) & 0o077:
        raise VaultError(f"{key_file} must be readable by its owner alone: chmod 600 {key_file}")
    key = key_file.read_bytes()
    if len(key) != KEY_BYTES:
        raise VaultError(f"{key_file} must hold exactly {KEY_BYTES} bytes.")
    return key
