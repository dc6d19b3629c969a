"""The spans of a function, as the X-Ray daemon receives them."""

import base64
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from remit.entrypoints.lambdas.tracing import HEADER
from remit.entrypoints.xray_format import SAMPLED

TRACE_ID = "5759e988bd862e3fe1be46a994272793"
PARENT_ID = "53995c3f42cd8ad8"

INVOKED = """
import os
from opentelemetry import trace
from remit.entrypoints.lambdas.tracing import InvocationTracer

tracer = InvocationTracer(os.environ)
with tracer.invocation("payment-validation"):
    with trace.get_tracer("remit").start_as_current_span("get_item"):
        pass
"""


@pytest.fixture
def daemon() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)
        yield listener


def invoke(daemon: socket.socket, sampled: int) -> None:
    """One invocation in a process of its own, because a process can set its tracer only once."""
    environ = {
        "AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{daemon.getsockname()[1]}",
        "AWS_LAMBDA_FUNCTION_NAME": "payment-validation-dev",
        "_X_AMZN_TRACE_ID": f"Root=1-{TRACE_ID[:8]}-{TRACE_ID[8:]};Parent={PARENT_ID};"
        f"Sampled={sampled}",
    }
    subprocess.run([sys.executable, "-c", INVOKED], env=environ, check=True)


def test_a_sampled_invocation_and_its_calls_reach_the_daemon(daemon: socket.socket) -> None:
    invoke(daemon, sampled=1)
    spans = []
    for _ in range(2):
        datagram = daemon.recv(65_536)
        assert datagram.startswith(HEADER + SAMPLED)
        sent = TracesData.FromString(base64.b64decode(datagram[len(HEADER + SAMPLED) :]))
        [resource] = sent.resource_spans
        named = {item.key: item.value.string_value for item in resource.resource.attributes}
        assert named["service.name"] == "payment-validation-dev"
        spans.append(resource.scope_spans[0].spans[0])
    call, invocation = spans
    assert [span.name for span in spans] == ["get_item", "payment-validation"]
    assert {span.trace_id.hex() for span in spans} == {TRACE_ID}
    assert invocation.parent_span_id.hex() == PARENT_ID
    assert call.parent_span_id == invocation.span_id


def test_an_invocation_that_is_not_sampled_is_not_sent(daemon: socket.socket) -> None:
    invoke(daemon, sampled=0)
    daemon.settimeout(0.2)
    with pytest.raises(TimeoutError):
        daemon.recv(65_536)
