"""PostgreSQL in Amazon RDS: TLS with RDS's own authority, and a password that is rotated."""

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
"""A rotation changes the password in the database first and calls it current afterwards; between
the two only the pending one is right (Secrets Manager, "How rotation works").
"""

_tracer = trace.get_tracer("remit")


def span(query: str, tracer: trace.Tracer = _tracer) -> AbstractContextManager[Any]:
    """One statement as X-Ray draws it: the database is a node of its own. Without parameters."""
    attributes = {"db.system": "postgresql", "db.statement": query.strip()[:80]}
    return tracer.start_as_current_span(
        "postgresql", kind=trace.SpanKind.CLIENT, attributes=attributes
    )


class SecretLogin:
    """User and password out of Secrets Manager, read once and again when they are refused.

    The server must show a certificate for the endpoint's name, from the authority in `ca`, or from
    one that this machine trusts. Raises Unavailable while Secrets Manager cannot answer.
    """

    def __init__(
        self, client: Any, *, secret_arn: str, endpoint: str, database: str, ca: Path | None
    ) -> None:
        self._client = client
        self._secret_arn = secret_arn
        self._host, _, port = endpoint.partition(":")
        self._port = int(port or 5432)
        self._database = database
        self._trusted = ssl.create_default_context(cafile=ca)
        self._known: Mapping[str, str] | None = None

    async def arguments(self) -> Mapping[str, Any]:
        if self._known is None:
            self._known = await self._read("AWSCURRENT")
        return {
            "host": self._host,
            "port": self._port,
            "database": self._database,
            "ssl": self._trusted,
            **(self._known or {}),
        }

    async def another(self) -> bool:
        for stage in STAGES:
            found = await self._read(stage)
            if found not in (None, self._known):
                self._known = found
                return True
        return False

    async def _read(self, stage: str) -> Mapping[str, str] | None:
        try:
            answer = await call(
                self._client.get_secret_value, SecretId=self._secret_arn, VersionStage=stage
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise
        secret = json.loads(answer["SecretString"])
        return {"user": secret["username"], "password": secret["password"]}
