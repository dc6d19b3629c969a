"""Runs a Pulumi program without Pulumi's engine, and writes down what it makes.

Every resource answers with references in the place of what only AWS would know, so a program that
puts an ARN into a policy puts the reference there.
"""

import asyncio
import contextvars
import importlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc
from pulumi.runtime.stack import run_pulumi_func

from remit_infra.graph.graph import Graph, Resource, references
from remit_infra.graph.terraform_names import attribute_of, snake, type_of

Program = Callable[[], Mapping[str, pulumi.Output[str]]]

THREADS = 4

NESTED: Mapping[tuple[str, str], str] = {
    ("aws:rds/cluster:Cluster", "masterUserSecrets"): "secretArn",
    ("aws:rds/instance:Instance", "masterUserSecrets"): "secretArn",
}
"""What a program takes out of the first of a list that a resource answers with, by type and
property.
"""


class RecordError(Exception):
    """The program cannot be recorded. The message says where."""


def record(program: Program, *, topology: str, suffix: str, project: str) -> Graph:
    """What the program makes, and the outputs that it gives. Whatever it raises is raised."""
    monitor = _Recorder()
    # Pulumi keeps what it works on in context variables: one program must not see another's.
    outputs = contextvars.copy_context().run(_run, program, monitor, project, suffix)
    return Graph(
        topology=topology,
        suffix=suffix,
        resources=tuple(monitor.made),
        components=monitor.components,
        outputs=outputs,
    )


def _run(program: Program, monitor: "_Recorder", project: str, suffix: str) -> dict[str, str]:
    outputs: dict[str, str] = {}

    async def run() -> None:
        mocks.set_mocks(_Nothing(), project=project, stack=suffix, monitor=monitor)
        outputs.update(await pulumi.Output.all(**program()).future() or {})

    # Every thread that answers for AWS wants a loop of its own, which nobody would close.
    loops = [asyncio.new_event_loop()]

    def begin() -> None:
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    try:
        with ThreadPoolExecutor(THREADS, initializer=begin) as threads:
            loops[0].set_default_executor(threads)
            loops[0].run_until_complete(run_pulumi_func(run))
    finally:
        for loop in loops:
            loop.close()
    return outputs


class _Nothing(mocks.Mocks):
    """The recorder answers for itself."""

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], None]:
        raise RecordError(f"The program asks AWS: {args.token}.")

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        if not args.custom:
            return args.name, {}
        return _expression(args.typ, args.name, "id"), _state(args.typ, args.name, args.inputs)


class _Recorder(mocks.MockMonitor):
    def __init__(self) -> None:
        super().__init__(_Nothing())
        self.made: list[Resource] = []
        self.components: dict[str, str] = {}
        self._names: set[str] = set()

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - as Pulumi calls it
        registered = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        parent = _name(request.parent)
        if request.type == "pulumi:pulumi:Stack":
            return registered
        if not request.custom:
            self.components[request.name] = request.type
            return registered
        if request.name in self._names:
            raise RecordError(f"Two resources are called '{request.name}'.")
        self._names.add(request.name)
        properties = _plain(rpc.deserialize_properties(request.object))
        # The code of a resource of our own.
        properties.pop("__provider", None)
        implied = references(properties)
        self.made.append(
            Resource(
                type=request.type,
                name=request.name,
                properties=properties,
                depends_on=tuple(
                    sorted({_name(urn) for urn in request.dependencies} - implied - {request.name})
                ),
                parent=parent if parent in self.components else None,
                ignores=tuple(request.ignoreChanges),
            )
        )
        return registered


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _expression(token: str, name: str, attribute: str) -> str:
    return f"${{{type_of(token)}.{name}.{attribute}}}"


def _state(token: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """What was given, and a reference for every text that AWS would answer besides."""
    answered = {
        prop: _expression(token, name, attribute_of(token, prop))
        for prop in _texts(token)
        if prop not in inputs
    }
    nested = {
        prop: [{inner: _expression(token, name, f"{attribute_of(token, prop)}[0].{snake(inner)}")}]
        for (type_, prop), inner in NESTED.items()
        if type_ == token
    }
    return {**inputs, **answered, **nested}


def _texts(token: str) -> list[str]:
    """The names of a type's properties that are text; none of a type that is not AWS's."""
    if not token.startswith("aws:"):
        return []
    _, path, class_ = token.split(":")
    module = path.partition("/")[0]
    package = importlib.import_module(f"pulumi_aws.{'lambda_' if module == 'lambda' else module}")
    return [
        member.fget._pulumi_name
        for member in vars(getattr(package, class_)).values()
        if isinstance(member, property)
        and member.fget is not None
        and hasattr(member.fget, "_pulumi_name")
        and _is_text(str(member.fget.__annotations__["return"]))
    ]


def _is_text(annotation: str) -> bool:
    return "str" in annotation and "Sequence" not in annotation and "Mapping" not in annotation


def _plain(value: Any) -> Any:
    """Pulumi's own kinds of values as data: an archive is its path, a secret what it holds."""
    match value:
        case pulumi.FileArchive():
            return {"archive": value.path}
        case {rpc._special_sig_key: rpc._special_secret_sig, "value": inner}:
            return _plain(inner)
        case Mapping():
            return {key: _plain(one) for key, one in value.items()}
        case list():
            return [_plain(one) for one in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value
