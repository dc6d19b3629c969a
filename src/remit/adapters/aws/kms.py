"""The vault's master key in AWS KMS, which makes and unwraps data keys and never leaves it."""

from typing import Any

from botocore.exceptions import ClientError

from remit.adapters.aws.client import call
from remit.adapters.files.vault import EnvelopeVault
from remit.domain.errors import CardUnreadable

CONTEXT = {"purpose": "remit card"}
"""The encryption context: a data key of ours unwraps for nothing else, and CloudTrail names it."""

FINGERPRINTS = b"remit fingerprint key"

_UNREADABLE = frozenset(
    {"InvalidCiphertextException", "IncorrectKeyException", "NotFoundException"}
)


class KmsKey:
    """A symmetric KMS key. Raises Unavailable when KMS cannot answer now."""

    def __init__(self, client: Any, key_id: str) -> None:
        self._client = client
        self._key_id = key_id

    async def new_data_key(self) -> tuple[bytes, bytes]:
        answer = await call(
            self._client.generate_data_key,
            KeyId=self._key_id,
            KeySpec="AES_256",
            EncryptionContext=CONTEXT,
        )
        return answer["Plaintext"], answer["CiphertextBlob"]

    async def unwrap(self, wrapped: bytes) -> bytes:
        try:
            answer = await call(
                self._client.decrypt,
                KeyId=self._key_id,
                CiphertextBlob=wrapped,
                EncryptionContext=CONTEXT,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in _UNREADABLE:
                raise CardUnreadable("KMS does not open this data key.") from error
            raise
        plain: bytes = answer["Plaintext"]
        return plain


def kms_vault(client: Any, *, key_id: str, mac_key_id: str) -> EnvelopeVault:
    """A vault under `key_id`. Its digest key is what `mac_key_id` says to a fixed message: the
    same in every process, asked for once by those that need it, and stored nowhere.
    """

    def digest_key() -> bytes:
        mac: bytes = client.generate_mac(
            KeyId=mac_key_id, MacAlgorithm="HMAC_SHA_256", Message=FINGERPRINTS
        )["Mac"]
        return mac

    return EnvelopeVault(KmsKey(client, key_id), digest_key)
