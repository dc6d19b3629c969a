"""Traces of a long-running process, through OpenTelemetry, uploaded to X-Ray by a thread for that.

A load balancer names the trace and decides nothing: the decision is made here, from the trace's own
id, so that every process makes the same one. Imported only where a process is traced.
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
from remit.entrypoints.xray_format import document

BATCH = 50
"""How many documents X-Ray takes in one call."""

MAX_WAITING = 2_048
MAX_DOCUMENT_BYTES = 64 * 1024
RANDOM_BITS = 96
"""Of a trace's id; the 32 before them are the second in which it began (X-Ray, "Trace ID")."""

log = structlog.get_logger("tracing")

_begun: ContextVar[int | None] = ContextVar("begun", default=None)


class Uploader(SpanExporter):
    """Uploads spans. Spans that X-Ray does not accept are dropped and counted: no payment waits."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.dropped = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        documents = [document(span).decode() for span in spans]
        short = [one for one in documents if len(one) <= MAX_DOCUMENT_BYTES]
        dropped = len(documents) - len(short)
        try:
            answer = self._client.put_trace_segments(TraceSegmentDocuments=short)
            dropped += len(answer.get("UnprocessedTraceSegments", ()))
        except Exception as error:  # noqa: BLE001 - payments are taken, whether or not traced
            dropped = len(documents)
            log.warning("spans_dropped", spans=dropped, error=type(error).__name__)
        self.dropped += dropped
        return SpanExportResult.FAILURE if dropped else SpanExportResult.SUCCESS


class _Begun(Sampler):
    """A trace begins only where `Tracing` says so."""

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        *args: Any,
        **more: Any,
    ) -> Sampling:
        return Sampling(Decision.DROP if _begun.get() is None else Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        return "Begun"


class _Ids(IdGenerator):
    """The id of the trace that begins; of spans, random ones."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()

    def generate_span_id(self) -> int:
        return self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        return _begun.get() or self._random.generate_trace_id()


class Tracing:
    """The tracer of a process: `ratio` of the traces without a decision are sampled."""

    def __init__(self, ratio: float, exporter: SpanExporter, clock: Clock, service: str) -> None:
        self._ratio = ratio
        self._clock = clock
        self._ids = RandomIdGenerator()
        self._provider = TracerProvider(
            resource=Resource({"service.name": service}),
            sampler=ParentBased(_Begun(), remote_parent_not_sampled=ALWAYS_OFF),
            id_generator=_Ids(),
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=MAX_WAITING, max_export_batch_size=BATCH)
        )
        self._tracer = self._provider.get_tracer("remit")

    def install(self) -> None:
        """From now on the calls to AWS and to the database are spans in what `begin` began."""
        trace.set_tracer_provider(self._provider)

    def close(self) -> None:
        """Uploads what waits."""
        self._provider.shutdown()

    @contextmanager
    def begin(self, name: str, header: str | None) -> Iterator[None]:
        """A span, if its trace is sampled: as the header says, or else by the trace's id."""
        told = _fields(header)
        trace_id = _trace_id(told.get("Root", "")) or self._new_trace_id()
        parent_id = _hex(told.get("Parent", ""), 16)
        if not self._is_sampled(trace_id, told.get("Sampled")):
            yield
            return
        context = Context()
        if parent_id:
            flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
            parent = trace.SpanContext(trace_id, parent_id, is_remote=True, trace_flags=flags)
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent), context)
        token = _begun.set(trace_id)
        try:
            span = self._tracer.start_span(name, context, kind=trace.SpanKind.SERVER)
        finally:
            _begun.reset(token)
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
    """`Root=1-…;Parent=…;Sampled=…`, in any order, with fields of others between."""
    pairs = (field.strip().partition("=") for field in (header or "").split(";"))
    return {name: value for name, _, value in pairs}


def _trace_id(root: str) -> int:
    """0 for what is none."""
    version, _, rest = root.partition("-")
    return _hex(rest.replace("-", "", 1), 32) if version == "1" else 0


def _hex(text: str, length: int) -> int:
    if len(text) != length or not set(text) <= set("0123456789abcdefABCDEF"):
        return 0
    return int(text, 16)
