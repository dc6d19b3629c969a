"""The login to PostgreSQL in Amazon RDS: verified TLS, and a password that is rotated."""

import json
import ssl
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from opentelemetry import trace

from remit.adapters.aws.client import call

STAGES = ("AWSCURRENT", "AWSPENDING")
"""The versions of the secret to try. A rotation changes the password in the database before it
marks it as current, and in between only the pending one works (Secrets Manager, "How rotation
works").
"""

_tracer = trace.get_tracer("remit")


def span(query: str, tracer: trace.Tracer = _tracer) -> AbstractContextManager[Any]:
    """The span of one statement, without its parameters. X-Ray shows the database as a node."""
    attributes = {"db.system": "postgresql", "db.statement": query.strip()[:80]}
    return tracer.start_as_current_span(
        "postgresql", kind=trace.SpanKind.CLIENT, attributes=attributes
    )


class SecretLogin:
    """User and password from Secrets Manager, read once, and again if the database rejects them.

    The server's certificate must be for the endpoint's name, and from the authority in `ca` or from
    one that this machine trusts. Raises Unavailable while Secrets Manager cannot be reached.
    """

    def __init__(
        self, client: Any, *, secret_arn: str, endpoint: str, database: str, ca: Path | None
    ) -> None:
        self._client = client
        self._secret_arn = secret_arn
        self._host, _, port = endpoint.partition(":")
        self._port = int(port or 5432)
        self._database = database
        self._tls = ssl.create_default_context(cafile=ca)
        self._credentials: Mapping[str, str] | None = None

    async def connect_arguments(self) -> Mapping[str, Any]:
        if self._credentials is None:
            self._credentials = await self._read("AWSCURRENT")
        return {
            "host": self._host,
            "port": self._port,
            "database": self._database,
            "ssl": self._tls,
            **(self._credentials or {}),
        }

    async def refresh(self) -> bool:
        for stage in STAGES:
            credentials = await self._read(stage)
            if credentials not in (None, self._credentials):
                self._credentials = credentials
                return True
        return False

    async def _read(self, stage: str) -> Mapping[str, str] | None:
        try:
            response = await call(
                self._client.get_secret_value, SecretId=self._secret_arn, VersionStage=stage
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise
        secret = json.loads(response["SecretString"])
        return {"user": secret["username"], "password": secret["password"]}
