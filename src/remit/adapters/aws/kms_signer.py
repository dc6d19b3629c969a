"""The key in AWS KMS that signs checkpoints of the audit trail. It never leaves KMS."""

from typing import Any

from botocore.exceptions import ClientError

from remit.adapters.aws.client import call

ALGORITHM = "ECDSA_SHA_256"


class KmsSigner:
    """Signer with a key of the curve P-256."""

    def __init__(self, client: Any, key_id: str) -> None:
        self._client = client
        self.key_id = key_id

    async def sign(self, message: bytes) -> bytes:
        response = await call(
            self._client.sign,
            KeyId=self.key_id,
            Message=message,
            MessageType="RAW",
            SigningAlgorithm=ALGORITHM,
        )
        signature: bytes = response["Signature"]
        return signature

    async def is_valid(self, message: bytes, signature: bytes) -> bool:
        try:
            response = await call(
                self._client.verify,
                KeyId=self.key_id,
                Message=message,
                MessageType="RAW",
                Signature=signature,
                SigningAlgorithm=ALGORITHM,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "KMSInvalidSignatureException":
                return False
            raise
        return bool(response["SignatureValid"])
