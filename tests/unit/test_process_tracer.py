"""The spans of a long-running process: which traces are sampled, and what is uploaded."""

import base64
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from remit.entrypoints.xray_format import SAMPLED
from remit.entrypoints.xray_tracer import ProcessTracer, SpanUploader
from tests.builders import StoppedClock
from tests.unit.test_invocation_tracer import PARENT_ID, TRACE_ID

ROOT = f"1-{TRACE_ID[:8]}-{TRACE_ID[8:]}"


class XRay:
    """A client that keeps the documents it takes."""

    def __init__(self) -> None:
        self.down = False
        self.unprocessed: list[dict[str, str]] = []
        self.documents: list[str] = []

    def put_trace_segments(self, *, TraceSegmentDocuments: list[str]) -> dict[str, Any]:  # noqa: N803
        if self.down:
            raise OSError("down")
        self.documents += TraceSegmentDocuments
        return {"UnprocessedTraceSegments": self.unprocessed}


@pytest.fixture
def xray() -> XRay:
    return XRay()


@pytest.fixture
def uploader(xray: XRay) -> SpanUploader:
    return SpanUploader(xray)


def tracing(uploader: SpanUploader, ratio: float) -> ProcessTracer:
    return ProcessTracer(ratio, uploader, StoppedClock(), "payment-api")


def sent(xray: XRay) -> list[Span]:
    found = []
    for document in xray.documents:
        assert document.startswith(SAMPLED.decode())
        data = TracesData.FromString(base64.b64decode(document.removeprefix(SAMPLED.decode())))
        [resource] = data.resource_spans
        named = {item.key: item.value.string_value for item in resource.resource.attributes}
        assert named["service.name"] == "payment-api"
        found += resource.scope_spans[0].spans
    return found


def begin(tracing: ProcessTracer, header: str | None) -> None:
    with tracing.start_span("POST /validate", header):
        pass


def test_a_load_balancer_names_the_trace_and_the_ratio_decides(
    xray: XRay, uploader: SpanUploader
) -> None:
    for ratio in (0.0, 1.0):
        traced = tracing(uploader, ratio)
        begin(traced, f"Root={ROOT}")
        traced.close()
    [span] = sent(xray)
    assert (span.name, span.trace_id.hex(), span.parent_span_id) == (
        "POST /validate",
        TRACE_ID,
        b"",
    )


def test_a_decision_in_the_header_is_kept(xray: XRay, uploader: SpanUploader) -> None:
    for ratio, sampled in ((1.0, 0), (1e-9, 1)):
        traced = tracing(uploader, ratio)
        begin(traced, f"Self=1-0-0; Root={ROOT};Parent={PARENT_ID};Sampled={sampled}")
        traced.close()
    [span] = sent(xray)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)


@pytest.mark.parametrize("header", [None, "", "Root=1-x-y", "Root", "Root=2-1-1;Parent=;Sampled=?"])
def test_a_request_without_a_trace_starts_one_at_the_current_second(
    xray: XRay, uploader: SpanUploader, header: str | None
) -> None:
    traced = tracing(uploader, 1.0)
    begin(traced, header)
    traced.close()
    [span] = sent(xray)
    assert int(span.trace_id.hex()[:8], 16) == int(StoppedClock()().timestamp())


def test_a_call_is_a_child_span_of_its_request(xray: XRay, uploader: SpanUploader) -> None:
    traced = tracing(uploader, 1.0)
    inner = traced._provider.get_tracer("remit")
    with inner.start_as_current_span("of no trace"):
        pass
    with traced.start_span("process", None), inner.start_as_current_span("get_item"):
        assert trace.get_current_span().is_recording()
    traced.close()
    call, step = sent(xray)
    assert (call.name, step.name, call.parent_span_id) == ("get_item", "process", step.span_id)


def test_the_ratio_is_of_all_traces(xray: XRay, uploader: SpanUploader) -> None:
    traced = tracing(uploader, 0.5)
    for number in range(200):
        begin(traced, f"Root=1-5759e988-{number:08x}{number * 2**64 // 200:016x}")
    traced.close()
    assert len(sent(xray)) == 100


def test_spans_that_xray_does_not_take_are_dropped_and_counted(
    xray: XRay, uploader: SpanUploader
) -> None:
    traced = tracing(uploader, 1.0)
    xray.unprocessed = [{"Id": "x"}]
    begin(traced, None)
    traced._provider.force_flush()
    xray.down = True
    begin(traced, None)
    traced.close()
    assert uploader.dropped == 2


def test_a_server_that_is_not_traced_imports_no_tracing() -> None:
    script = "import sys, remit.entrypoints.serve, remit.entrypoints.worker\n"
    script += "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    subprocess.run([sys.executable, "-c", script], check=True)
