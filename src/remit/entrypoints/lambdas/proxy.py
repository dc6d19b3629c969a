"""HTTP through a function: requests from API Gateway (REST, proxy) or from a load balancer.

The responses are the same as the server's own.
"""

import base64
from typing import Any
from urllib.parse import urlencode

from aws_lambda_powertools.utilities.data_classes import ALBEvent, APIGatewayProxyEvent

from remit.entrypoints.lambdas.runtime import Event
from remit.http.responses import body_too_large, response_headers
from remit.http.router import Api
from remit.http.routes import ROUTES
from remit.ports.app import App

ProxyResponse = dict[str, Any]

FUNCTION_ROUTES = tuple(route for route in ROUTES if route.function is not None)
"""The API without the pages of the service's own server."""


class ProxyRequest:
    """A Request from a function's event."""

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
            raise body_too_large(limit_bytes)
        return body


def _headers(event: ALBEvent | APIGatewayProxyEvent) -> dict[str, str]:
    """The headers by their names in small letters. Of several values the first is used."""
    if event.multi_value_headers:
        return {name.lower(): values[0] for name, values in event.multi_value_headers.items()}
    return {name.lower(): value for name, value in event.headers.items()}


def _query(event: ALBEvent | APIGatewayProxyEvent) -> str:
    """The query string. A load balancer passes its values encoded, and API Gateway decoded."""
    parameters = event.multi_value_query_string_parameters or {
        name: [value] for name, value in event.query_string_parameters.items()
    }
    pairs = [(name, value) for name, values in parameters.items() for value in values]
    if isinstance(event, ALBEvent):
        return "&".join(f"{name}={value}" for name, value in pairs)
    return urlencode(pairs)


class ProxyApi:
    """Answers the requests in a function's events."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._api = Api(app, FUNCTION_ROUTES)

    async def __call__(self, event: Event) -> ProxyResponse:
        is_balancer = "elb" in (event.get("requestContext") or {})
        typed_event = ALBEvent(event) if is_balancer else APIGatewayProxyEvent(event)
        request = ProxyRequest(typed_event, self._app.new_id())
        response = await self._api.respond(request)
        proxy_response: ProxyResponse = {
            "statusCode": response.status,
            "isBase64Encoded": False,
            "body": response.body.decode(),
        }
        headers = response_headers(response, request.request_id)
        # A load balancer expects the headers in the form in which it sends them.
        if is_balancer and event.get("multiValueHeaders"):
            multi_value = {name: [value] for name, value in headers}
            return proxy_response | {"multiValueHeaders": multi_value}
        return proxy_response | {"headers": dict(headers)}
