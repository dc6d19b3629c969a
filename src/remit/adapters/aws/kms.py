"""The vault's master key in AWS KMS. It makes and unwraps data keys, and never leaves KMS."""

from typing import Any

from botocore.exceptions import ClientError

from remit.adapters.aws.client import call
from remit.adapters.files.vault import EnvelopeVault
from remit.domain.errors import CardUnreadable

CONTEXT = {"purpose": "remit card"}
"""The encryption context. KMS unwraps a data key only under it, and CloudTrail logs it."""

FINGERPRINTS = b"remit fingerprint key"

_UNREADABLE = frozenset(
    {"InvalidCiphertextException", "IncorrectKeyException", "NotFoundException"}
)


class KmsKey:
    """A symmetric KMS key. Raises Unavailable if KMS cannot serve a call now."""

    def __init__(self, client: Any, key_id: str) -> None:
        self._client = client
        self._key_id = key_id

    async def new_data_key(self) -> tuple[bytes, bytes]:
        response = await call(
            self._client.generate_data_key,
            KeyId=self._key_id,
            KeySpec="AES_256",
            EncryptionContext=CONTEXT,
        )
        return response["Plaintext"], response["CiphertextBlob"]

    async def unwrap(self, wrapped: bytes) -> bytes:
        try:
            response = await call(
                self._client.decrypt,
                KeyId=self._key_id,
                CiphertextBlob=wrapped,
                EncryptionContext=CONTEXT,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in _UNREADABLE:
                raise CardUnreadable("KMS does not open this data key.") from error
            raise
        plain: bytes = response["Plaintext"]
        return plain


def kms_vault(client: Any, *, key_id: str, mac_key_id: str) -> EnvelopeVault:
    """A vault under the master key `key_id`.

    Its digest key is the MAC of a fixed message under `mac_key_id`, so it is the same in every
    process and stored nowhere. A process computes it at its first use.
    """

    def digest_key() -> bytes:
        mac: bytes = client.generate_mac(
            KeyId=mac_key_id, MacAlgorithm="HMAC_SHA_256", Message=FINGERPRINTS
        )["Mac"]
        return mac

    return EnvelopeVault(KmsKey(client, key_id), digest_key)
