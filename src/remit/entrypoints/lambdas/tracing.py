"""Traces of a function, through OpenTelemetry, to the X-Ray daemon that Lambda runs beside it.

The trace begins at API Gateway, which decides whether it is sampled; what is not costs nothing
here. The daemon takes spans in OTLP as UDP datagrams on the loopback device, so no call of ours
waits for them; for that transport there is no exporter in Python but the one within AWS's whole
distribution, so this module has one.
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

from remit.entrypoints.xray_format import document

DAEMON = "AWS_XRAY_DAEMON_ADDRESS"
TRACE = "_X_AMZN_TRACE_ID"
HEADER = b'{"format":"json","version":1}\n'
MAX_DATAGRAM = 64 * 1024


class DaemonExporter(SpanExporter):
    """Sends each span as one datagram. A span that is too long for one is dropped."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            body = HEADER + document(span)
            if len(body) > MAX_DATAGRAM:
                return SpanExportResult.FAILURE
            try:
                self._socket.sendto(body, self._address)
            except OSError:
                # Payments are taken whether or not somebody watches.
                return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._socket.close()


class Tracing:
    """The tracer of a container. Without a daemon nothing is recorded."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._propagator = AwsXRayPropagator()
        if DAEMON in environ:
            resource = Resource({"service.name": environ.get("AWS_LAMBDA_FUNCTION_NAME", "remit")})
            # Lambda has made the decision; a request without one is not traced.
            provider = TracerProvider(resource=resource, sampler=ParentBased(ALWAYS_OFF))
            provider.add_span_processor(SimpleSpanProcessor(DaemonExporter(environ[DAEMON])))
            trace.set_tracer_provider(provider)
        self._tracer = trace.get_tracer("remit")

    @contextmanager
    def invocation(self, name: str) -> Iterator[None]:
        """The span of one invocation, under the one that Lambda made for it."""
        header = {"X-Amzn-Trace-Id": os.environ.get(TRACE, "")}
        parent = self._propagator.extract(header)
        with self._tracer.start_as_current_span(name, parent, kind=trace.SpanKind.SERVER):
            yield
