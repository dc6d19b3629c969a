"""What stands before the service in every topology: the routes, API Gateway's own responses and
access log, and the rules of the web firewall.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

ROUTES = (
    ("POST", "validate", "validation"),
    ("POST", "process", "processing"),
    ("GET", "payments", "processing"),
    ("GET", "payments/{transaction_id}", "processing"),
    ("GET", "health", "health"),
)
"""Method, path, and the module of the function that handles the request."""

PUBLIC_PATHS = ("health",)
"""The paths that need no API key."""


def path_pattern(path: str) -> str:
    """The path with `*` for each parameter, as in ARNs and in the load balancer's rules."""
    return "/".join("*" if part.startswith("{") else part for part in path.split("/"))


class GatewayResponse(msgspec.Struct, frozen=True):
    """A response of API Gateway's own, for a request that reaches no function. `kind` is API
    Gateway's word for the case. The body has the form of the service's errors.
    """

    kind: str
    status: str | None
    type: str
    code: str
    message: str

    @property
    def error(self) -> dict[str, str]:
        """The member `error` of the body."""
        return {"type": self.type, "code": self.code, "message": self.message}

    @property
    def template(self) -> str:
        """The body, as a mapping template of API Gateway."""
        return json.dumps({"error": self.error, "request_id": "$context.requestId"})


GATEWAY_RESPONSES: Mapping[str, GatewayResponse] = MappingProxyType(
    {
        "body": GatewayResponse(
            "BAD_REQUEST_BODY",
            "400",
            "invalid_request_error",
            "body_invalid",
            "The body must be a JSON object.",
        ),
        "route": GatewayResponse(
            "MISSING_AUTHENTICATION_TOKEN",
            "404",
            "invalid_request_error",
            "route_unknown",
            "There is nothing at this path.",
        ),
        "throttled": GatewayResponse(
            "THROTTLED",
            "429",
            "rate_limit_error",
            "rate_limited",
            "Too many requests. Try again in a second.",
        ),
        "type": GatewayResponse(
            "UNSUPPORTED_MEDIA_TYPE",
            "415",
            "invalid_request_error",
            "content_type_unsupported",
            "The body must be JSON.",
        ),
        "large": GatewayResponse(
            "REQUEST_TOO_LARGE",
            "413",
            "invalid_request_error",
            "body_too_large",
            "The body is too large.",
        ),
        "refused": GatewayResponse(
            "DEFAULT_4XX",
            None,
            "invalid_request_error",
            "request_refused",
            "The request was refused.",
        ),
        "failed": GatewayResponse(
            "DEFAULT_5XX",
            None,
            "api_error",
            "internal_error",
            "Something went wrong on our side. Try again with the same Idempotency-Key.",
        ),
    }
)

API_KEY_RESPONSES: Mapping[str, GatewayResponse] = MappingProxyType(
    {
        "key": GatewayResponse(
            "INVALID_API_KEY",
            "401",
            "authentication_error",
            "api_key_invalid",
            "This API key is not valid.",
        ),
        "quota": GatewayResponse(
            "QUOTA_EXCEEDED",
            "429",
            "rate_limit_error",
            "quota_exceeded",
            "This API key has used up its requests for today.",
        ),
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
