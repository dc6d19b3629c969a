"""Redis in Amazon ElastiCache: TLS, and IAM in place of a password.

What is asked over the connection is elsewhere (`redis_connection.py`).
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
"""ElastiCache takes no token that is older (ElastiCache, "Authenticating with IAM")."""


class IamLogin(CredentialProvider):
    """A token for each new connection: a request to connect, signed as whoever this runs as.

    Nothing is asked of AWS but the credentials of where this runs, and nothing is kept but these.
    Raises Unavailable where there are none.
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
        asked = {
            "method": "GET",
            "url": f"http://{self._cache_name}/?Action=connect&User={self._user}",
            "body": {},
            "headers": {},
            "context": {},
        }
        url: str = signer.generate_presigned_url(asked, "connect", expires_in=TOKEN_SECONDS)
        return url.removeprefix("http://")

    def _new_signer(self) -> RequestSigner:
        # Kept, because a signer holds what it needs of its session by a weak reference only.
        self._session = boto3.Session(region_name=region())
        if (credentials := self._session.get_credentials()) is None:
            raise NoCredentialsError
        signed_for, events = self._session.region_name, self._session.events
        return RequestSigner(ServiceId(SERVICE), signed_for, SERVICE, "v4", credentials, events)


def connection(endpoint: str, login: IamLogin, ca: Path | None) -> SSLConnection:
    """A connection that is not open yet.

    The server must show a certificate for the endpoint's name, from the authority in `ca`, or from
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
