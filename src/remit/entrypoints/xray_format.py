"""Spans in the form that X-Ray takes: OTLP in base64, marked as sampled. For the daemon beside a
function and for uploads.
"""

import base64

from opentelemetry.sdk.trace import ReadableSpan

SAMPLED = b"T1S"


def document(span: ReadableSpan) -> bytes:
    # Imported here: only a sampled trace has spans to encode.
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    return SAMPLED + base64.b64encode(encode_spans([span]).SerializeToString())
