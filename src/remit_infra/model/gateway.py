"""What stands before the service in every topology: the routes, API Gateway's own responses and
access log, and the rules of the web firewall.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from remit.http.errors import HTTP_ERRORS
from remit.http.routes import ROUTES as TABLE

ROUTES = tuple(
    (route.method, route.path.removeprefix("/"), route.function)
    for route in TABLE
    if route.function is not None
)
"""Method, path, and the module of the function that answers: from the service's own table."""

PUBLIC_PATHS = tuple(
    route.path.removeprefix("/") for route in TABLE if route.function and route.is_public
)
"""The paths that need no API key."""


def path_pattern(path: str) -> str:
    """The path with `*` for each parameter, as in ARNs and in the load balancer's rules."""
    return "/".join("*" if part.startswith("{") else part for part in path.split("/"))


def path_words(path: str) -> str:
    """The path as a part of a resource's name: `payments-transaction_id`."""
    return path.translate({ord("{"): None, ord("}"): None, ord("/"): "-"})


class GatewayResponse(msgspec.Struct, frozen=True):
    """A response of API Gateway's own, for a request that reaches no function. `kind` is API
    Gateway's word for the case, `code` the service's. The body is that of the service's error.
    """

    kind: str
    code: str

    @property
    def status(self) -> str | None:
        """None for a default, of which API Gateway keeps the status that it has."""
        return None if self.kind.startswith("DEFAULT_") else str(HTTP_ERRORS[self.code].status)

    @property
    def error(self) -> dict[str, str]:
        """The member `error` of the body."""
        error = HTTP_ERRORS[self.code]
        return {"type": error.type, "code": self.code, "message": error.message}

    @property
    def template(self) -> str:
        """The body, as a mapping template of API Gateway."""
        return json.dumps({"error": self.error, "request_id": "$context.requestId"})


GATEWAY_RESPONSES: Mapping[str, GatewayResponse] = MappingProxyType(
    {
        "body": GatewayResponse("BAD_REQUEST_BODY", "body_invalid"),
        "route": GatewayResponse("MISSING_AUTHENTICATION_TOKEN", "route_unknown"),
        "throttled": GatewayResponse("THROTTLED", "rate_limit"),
        "type": GatewayResponse("UNSUPPORTED_MEDIA_TYPE", "content_type"),
        "large": GatewayResponse("REQUEST_TOO_LARGE", "body_too_large"),
        "refused": GatewayResponse("DEFAULT_4XX", "request_refused"),
        "failed": GatewayResponse("DEFAULT_5XX", "internal"),
    }
)

API_KEY_RESPONSES: Mapping[str, GatewayResponse] = MappingProxyType(
    {
        "key": GatewayResponse("INVALID_API_KEY", "api_key_invalid"),
        "quota": GatewayResponse("QUOTA_EXCEEDED", "quota_exceeded"),
    }
)
"""Further responses where a usage plan requires a key."""

ACCESS_LOG: Mapping[str, str] = MappingProxyType(
    {
        "request_id": "$context.requestId",
        "time": "$context.requestTimeEpoch",
        "ip": "$context.identity.sourceIp",
        "method": "$context.httpMethod",
        "path": "$context.resourcePath",
        "status": "$context.status",
        "latency_ms": "$context.responseLatency",
        "function_ms": "$context.integrationLatency",
        "bytes": "$context.responseLength",
        "error": "$context.error.responseType",
        "trace_id": "$context.xrayTraceId",
    }
)
"""A line of the access log. It contains no body, no header and no query, which can hold secrets."""

BODY_SCHEMA = json.dumps({"$schema": "http://json-schema.org/draft-04/schema#", "type": "object"})
"""API Gateway rejects a body that is no JSON object. The functions validate everything else: they
name the field and write an audit record.
"""

FIREWALL_RULES = ("AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet")

COUNTED_RULES: Mapping[str, str] = MappingProxyType(
    {"AWSManagedRulesCommonRuleSet": "SizeRestrictions_BODY"}
)
"""Rules that only count. The service accepts bodies above this rule's 8 KiB, up to its own limit.
"""

REDACTED_HEADERS = ("authorization", "x-api-key")
