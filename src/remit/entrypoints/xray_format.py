"""Encodes spans for X-Ray, as OTLP in base64, for its daemon and for uploads."""

import base64

from opentelemetry.sdk.trace import ReadableSpan

SAMPLED = b"T1S"
"""The prefix of a span of a sampled trace."""


def encode_span(span: ReadableSpan) -> bytes:
    # The import is here because only a sampled trace has spans to encode.
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    return SAMPLED + base64.b64encode(encode_spans([span]).SerializeToString())
