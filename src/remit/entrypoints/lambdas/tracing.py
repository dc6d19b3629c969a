"""Traces a function through OpenTelemetry, to the X-Ray daemon that Lambda runs beside it.

A trace starts at API Gateway, which decides whether it is sampled. The daemon takes spans in OTLP
as UDP datagrams on the loopback device, so no request waits for them. The only exporter for this
transport is inside AWS's whole distribution of OpenTelemetry, so this module has its own.
"""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.propagators.aws import AwsXRayPropagator
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

from remit.entrypoints.xray_format import encode_span

DAEMON = "AWS_XRAY_DAEMON_ADDRESS"
TRACE = "_X_AMZN_TRACE_ID"
HEADER = b'{"format":"json","version":1}\n'
MAX_DATAGRAM = 64 * 1024


class DaemonExporter(SpanExporter):
    """Sends each span as one datagram. A span that is longer than a datagram is dropped."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            body = HEADER + encode_span(span)
            if len(body) > MAX_DATAGRAM:
                return SpanExportResult.FAILURE
            try:
                self._socket.sendto(body, self._address)
            except OSError:
                # A payment does not fail because its trace cannot be sent.
                return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._socket.close()


class InvocationTracer:
    """The tracer of a function's container. Without a daemon it records nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._propagator = AwsXRayPropagator()
        if DAEMON in environ:
            resource = Resource({"service.name": environ.get("AWS_LAMBDA_FUNCTION_NAME", "remit")})
            # Lambda has decided whether to sample. An invocation without a decision is not.
            provider = TracerProvider(resource=resource, sampler=ParentBased(ALWAYS_OFF))
            provider.add_span_processor(SimpleSpanProcessor(DaemonExporter(environ[DAEMON])))
            trace.set_tracer_provider(provider)
        self._tracer = trace.get_tracer("remit")

    @contextmanager
    def invocation(self, name: str) -> Iterator[None]:
        """The span of one invocation, as a child of Lambda's own."""
        header = {"X-Amzn-Trace-Id": os.environ.get(TRACE, "")}
        parent = self._propagator.extract(header)
        with self._tracer.start_as_current_span(name, parent, kind=trace.SpanKind.SERVER):
            yield
