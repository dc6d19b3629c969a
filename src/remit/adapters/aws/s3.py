"""A bucket in S3. Each key is written once."""

from typing import Any

from botocore.exceptions import ClientError

from remit.adapters.aws.client import call


class S3Bucket:
    """Bucket. It writes with If-None-Match, so of two writers of one key the first wins."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    async def put_new(self, key: str, body: bytes) -> bool:
        try:
            await call(
                self._client.put_object, Bucket=self._name, Key=key, Body=body, IfNoneMatch="*"
            )
        except ClientError as error:
            # Another writer is writing the key and may still fail. S3 documents to try again.
            if error.response["Error"]["Code"] == "ConditionalRequestConflict":
                return await self.put_new(key, body)
            if error.response["Error"]["Code"] == "PreconditionFailed":
                return False
            raise
        return True

    async def get(self, key: str) -> bytes | None:
        try:
            response = await call(self._client.get_object, Bucket=self._name, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        body: bytes = await call(response["Body"].read)
        return body

    async def list(self, prefix: str, after: str, limit: int) -> list[str]:
        response = await call(
            self._client.list_objects_v2,
            Bucket=self._name,
            Prefix=prefix,
            StartAfter=after,
            MaxKeys=limit,
        )
        return [item["Key"] for item in response.get("Contents", [])]
