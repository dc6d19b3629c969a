"""HTTP through a function: requests as API Gateway (REST, proxy) or a load balancer has them.

The answers are the server's own, whoever carries them.
"""

import base64
from typing import Any
from urllib.parse import urlencode

from aws_lambda_powertools.utilities.data_classes import ALBEvent, APIGatewayProxyEvent

from remit.entrypoints.lambdas.runtime import Event
from remit.http.responses import response_headers, too_large
from remit.http.router import Api
from remit.http.routes import ROUTES
from remit.ports.app import App

Proxied = dict[str, Any]

FUNCTION_ROUTES = tuple(route for route in ROUTES if route.function is not None)
"""The API without the pages of the service's own server."""


class ProxyRequest:
    """One proxied request. A load balancer leaves query values as they came; API Gateway has
    decoded them.
    """

    def __init__(self, event: ALBEvent | APIGatewayProxyEvent, request_id: str) -> None:
        self.method = event.http_method
        self.path = event.path
        self.request_id = request_id
        self.query = _query(event)
        self._headers = _headers(event)
        self._body = event.body
        self._is_base64 = bool(event.is_base64_encoded)

    def header(self, name: str) -> str | None:
        return self._headers.get(name)

    async def body(self, *, limit_bytes: int, timeout_seconds: float) -> bytes:
        body = (self._body or "").encode("utf-8", "surrogatepass")
        if self._is_base64:
            body = base64.b64decode(body)
        if len(body) > limit_bytes:
            raise too_large(limit_bytes)
        return body


def _headers(event: ALBEvent | APIGatewayProxyEvent) -> dict[str, str]:
    """The headers by their names in small letters; of several values the first."""
    if event.multi_value_headers:
        return {name.lower(): values[0] for name, values in event.multi_value_headers.items()}
    return {name.lower(): value for name, value in event.headers.items()}


def _query(event: ALBEvent | APIGatewayProxyEvent) -> str:
    several = event.multi_value_query_string_parameters or {
        name: [value] for name, value in event.query_string_parameters.items()
    }
    pairs = [(name, value) for name, values in several.items() for value in values]
    if isinstance(event, ALBEvent):
        return "&".join(f"{name}={value}" for name, value in pairs)
    return urlencode(pairs)


class Http:
    """Answers proxied requests over one `App`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._api = Api(app, FUNCTION_ROUTES)

    async def __call__(self, event: Event) -> Proxied:
        is_balancer = "elb" in (event.get("requestContext") or {})
        proxied = ALBEvent(event) if is_balancer else APIGatewayProxyEvent(event)
        request = ProxyRequest(proxied, self._app.new_id())
        answer = await self._api.answer(request)
        made: Proxied = {
            "statusCode": answer.status,
            "isBase64Encoded": False,
            "body": answer.body.decode(),
        }
        headers = response_headers(answer, request.request_id)
        # A load balancer takes the headers in the form in which it sends them.
        if is_balancer and event.get("multiValueHeaders"):
            return made | {"multiValueHeaders": {name: [value] for name, value in headers}}
        return made | {"headers": dict(headers)}
