"""Connects to Redis in Amazon ElastiCache, over TLS and with an IAM token as the password.

`adapters/redis/connection.py` uses the connection.
"""

import asyncio
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, NoCredentialsError
from botocore.model import ServiceId
from botocore.signers import RequestSigner
from redis.asyncio.connection import SSLConnection
from redis.credentials import CredentialProvider

from remit.adapters.aws.client import region
from remit.domain.errors import Unavailable

SERVICE = "elasticache"
TOKEN_SECONDS = 900
"""How long ElastiCache accepts a token (ElastiCache, "Authenticating with IAM")."""


class IamLogin(CredentialProvider):
    """Makes a token for each new connection: a presigned request to connect.

    The signature is computed here, with the credentials of the process. Raises Unavailable if there
    are none.
    """

    def __init__(self, *, cache_name: str, user: str) -> None:
        self._cache_name = cache_name
        self._user = user
        self._signer: RequestSigner | None = None

    def get_credentials(self) -> tuple[str, str]:
        try:
            return self._user, self._token()
        except BotoCoreError as error:
            raise Unavailable("AWS has no credentials to reach Redis with.") from error

    async def get_credentials_async(self) -> tuple[str, str]:
        return await asyncio.to_thread(self.get_credentials)

    def _token(self) -> str:
        signer = self._signer = self._signer or self._new_signer()
        request = {
            "method": "GET",
            "url": f"http://{self._cache_name}/?Action=connect&User={self._user}",
            "body": {},
            "headers": {},
            "context": {},
        }
        url: str = signer.generate_presigned_url(request, "connect", expires_in=TOKEN_SECONDS)
        return url.removeprefix("http://")

    def _new_signer(self) -> RequestSigner:
        # The session is an attribute because a signer holds only a weak reference to its events.
        session = self._session = boto3.Session(region_name=region())
        if (credentials := session.get_credentials()) is None:
            raise NoCredentialsError
        return RequestSigner(
            ServiceId(SERVICE), session.region_name, SERVICE, "v4", credentials, session.events
        )


def connection(endpoint: str, login: IamLogin, ca: Path | None) -> SSLConnection:
    """A connection that is not open yet.

    The server's certificate must be for the endpoint's name, and from the authority in `ca` or from
    one that this machine trusts.
    """
    host, _, port = endpoint.partition(":")
    return SSLConnection(
        host=host,
        port=int(port or 6379),
        credential_provider=login,
        ssl_ca_certs=None if ca is None else str(ca),
        socket_timeout=None,
        socket_connect_timeout=None,
        protocol=2,
        driver_info=None,
    )
