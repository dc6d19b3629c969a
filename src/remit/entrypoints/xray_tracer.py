"""Traces a long-running process through OpenTelemetry. A thread uploads the spans to X-Ray.

A load balancer names a trace and does not decide whether it is sampled. This module decides by the
trace's id, so that every process decides alike. Only a process that is traced imports it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, ParentBased, Sampler
from opentelemetry.sdk.trace.sampling import SamplingResult as Sampling

from remit.domain.ids import Clock
from remit.entrypoints.xray_format import encode_span

BATCH = 50
"""The number of documents that X-Ray takes in one call."""

MAX_WAITING = 2_048
MAX_DOCUMENT_BYTES = 64 * 1024
RANDOM_BITS = 96
"""The random bits of a trace's id. The 32 bits before them are the time at which it started, in
seconds (X-Ray, "Trace ID").
"""

log = structlog.get_logger("tracing")

_sampled_trace_id: ContextVar[int | None] = ContextVar("sampled_trace_id", default=None)
"""Passes the decision of `ProcessTracer` to OpenTelemetry's sampler and id generator."""


class SpanUploader(SpanExporter):
    """Uploads spans. Spans that X-Ray does not accept are dropped and counted, so nothing waits."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.dropped = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        documents = [encode_span(span).decode() for span in spans]
        short = [document for document in documents if len(document) <= MAX_DOCUMENT_BYTES]
        dropped = len(documents) - len(short)
        try:
            response = self._client.put_trace_segments(TraceSegmentDocuments=short)
            dropped += len(response.get("UnprocessedTraceSegments", ()))
        except Exception as error:  # noqa: BLE001 - a payment must not fail for its trace
            dropped = len(documents)
            log.warning("spans_dropped", spans=dropped, error=type(error).__name__)
        self.dropped += dropped
        return SpanExportResult.FAILURE if dropped else SpanExportResult.SUCCESS


class _DecidedSampler(Sampler):
    """Samples a new trace if `ProcessTracer` has decided so."""

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        *args: Any,
        **options: Any,
    ) -> Sampling:
        is_sampled = _sampled_trace_id.get() is not None
        return Sampling(Decision.RECORD_AND_SAMPLE if is_sampled else Decision.DROP)

    def get_description(self) -> str:
        return "Decided"


class _Ids(IdGenerator):
    """Gives a new trace the id that `ProcessTracer` decided on, and spans random ids."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()

    def generate_span_id(self) -> int:
        return self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        return _sampled_trace_id.get() or self._random.generate_trace_id()


class ProcessTracer:
    """The tracer of a process. It samples `ratio` of the traces whose header does not decide."""

    def __init__(self, ratio: float, exporter: SpanExporter, clock: Clock, service: str) -> None:
        self._ratio = ratio
        self._clock = clock
        self._ids = RandomIdGenerator()
        self._provider = TracerProvider(
            resource=Resource({"service.name": service}),
            sampler=ParentBased(_DecidedSampler(), remote_parent_not_sampled=ALWAYS_OFF),
            id_generator=_Ids(),
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=MAX_WAITING, max_export_batch_size=BATCH)
        )
        self._tracer = self._provider.get_tracer("remit")

    def install(self) -> None:
        """Makes calls to AWS and to the database child spans of those that `start_span` starts."""
        trace.set_tracer_provider(self._provider)

    def close(self) -> None:
        """Uploads the waiting spans."""
        self._provider.shutdown()

    @contextmanager
    def start_span(self, name: str, header: str | None) -> Iterator[None]:
        """Starts a span if its trace is sampled. The header decides, or else the trace's id."""
        fields = _fields(header)
        trace_id = _trace_id(fields.get("Root", "")) or self._new_trace_id()
        parent_id = _hex(fields.get("Parent", ""), 16)
        if not self._is_sampled(trace_id, fields.get("Sampled")):
            yield
            return
        context = Context()
        if parent_id:
            flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
            parent = trace.SpanContext(trace_id, parent_id, is_remote=True, trace_flags=flags)
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent), context)
        token = _sampled_trace_id.set(trace_id)
        try:
            span = self._tracer.start_span(name, context, kind=trace.SpanKind.SERVER)
        finally:
            _sampled_trace_id.reset(token)
        with trace.use_span(span, end_on_exit=True):
            yield

    def _is_sampled(self, trace_id: int, decided: str | None) -> bool:
        if decided in ("0", "1"):
            return decided == "1"
        return (trace_id & (1 << 64) - 1) < self._ratio * (1 << 64)

    def _new_trace_id(self) -> int:
        random = self._ids.generate_trace_id() & (1 << RANDOM_BITS) - 1
        return int(self._clock().timestamp()) << RANDOM_BITS | random


def _fields(header: str | None) -> Mapping[str, str]:
    """The fields of a header such as `Root=1-…;Parent=…;Sampled=…`, in any order."""
    pairs = (field.strip().partition("=") for field in (header or "").split(";"))
    return {name: value for name, _, value in pairs}


def _trace_id(root: str) -> int:
    """The trace id in a `Root` field, or 0 if it has none."""
    version, _, id_ = root.partition("-")
    return _hex(id_.replace("-", "", 1), 32) if version == "1" else 0


def _hex(text: str, length: int) -> int:
    if len(text) != length or not set(text) <= set("0123456789abcdefABCDEF"):
        return 0
    return int(text, 16)
