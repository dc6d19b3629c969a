"""A bucket in S3. Objects are whole or not there, and a key is written once."""

from typing import Any

from botocore.exceptions import ClientError

from remit.adapters.aws.client import call


class S3Bucket:
    """Stores with If-None-Match, so of two writers of a key one wins."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    async def put_new(self, key: str, body: bytes) -> bool:
        try:
            await call(
                self._client.put_object, Bucket=self._name, Key=key, Body=body, IfNoneMatch="*"
            )
        except ClientError as error:
            # A conflict is a writer at the same moment, who may still fail: S3 says to try again.
            if error.response["Error"]["Code"] == "ConditionalRequestConflict":
                return await self.put_new(key, body)
            if error.response["Error"]["Code"] == "PreconditionFailed":
                return False
            raise
        return True

    async def get(self, key: str) -> bytes | None:
        try:
            answer = await call(self._client.get_object, Bucket=self._name, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        body: bytes = await call(answer["Body"].read)
        return body

    async def list(self, prefix: str, after: str, limit: int) -> list[str]:
        answer = await call(
            self._client.list_objects_v2,
            Bucket=self._name,
            Prefix=prefix,
            StartAfter=after,
            MaxKeys=limit,
        )
        return [found["Key"] for found in answer.get("Contents", [])]
