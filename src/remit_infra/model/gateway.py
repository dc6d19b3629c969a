"""What stands in front of the functions, for every topology: routes, what API Gateway answers by
itself, what it logs, and the web firewall's rules. Data alone: no tool is imported here.
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
"""Method, path, and the module of the function that answers."""


class GatewayResponse(msgspec.Struct, frozen=True):
    """What API Gateway answers by itself to one kind of request, in the service's own words."""

    kind: str
    status: str | None
    type: str
    code: str
    message: str

    @property
    def template(self) -> str:
        error = {"type": self.type, "code": self.code, "message": self.message}
        return json.dumps({"error": error, "request_id": "$context.requestId"})


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
"""The same where a usage plan asks for a key."""

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
"""Who asked for what and what came of it; no body, no header, no query."""

BODY_SCHEMA = json.dumps({"$schema": "http://json-schema.org/draft-04/schema#", "type": "object"})
"""A body that is no JSON object is refused at the edge. All else is for the functions, which
name the field and leave an audit record.
"""

FIREWALL_RULES = ("AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet")

COUNTED_RULES: Mapping[str, str] = MappingProxyType(
    {"AWSManagedRulesCommonRuleSet": "SizeRestrictions_BODY"}
)
"""Only counted: bodies above 8 KiB, which the service allows up to its own limit."""

REDACTED_HEADERS = ("authorization", "x-api-key")
