"""Runs a Pulumi program without Pulumi's engine, and records the resources that it registers.

The recorder returns references for the values that only AWS knows. A program that puts an ARN into
a policy then puts a reference there.
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
"""Outputs that are lists, by type and property, with the text that programs read from the first
item.
"""


class RecordError(Exception):
    """The program cannot be recorded. The message says why."""


def record(program: Program, *, topology: str, suffix: str, project: str) -> Graph:
    """The resources of the program, and the outputs that it returns. Raises what the program
    raises, and RecordError.
    """
    monitor = _Recorder()
    # Pulumi keeps its state in context variables. A program must not see that of another.
    outputs = contextvars.copy_context().run(_run, program, monitor, project, suffix)
    return Graph(
        topology=topology,
        suffix=suffix,
        resources=tuple(monitor.recorded),
        components=monitor.components,
        outputs=outputs,
    )


def _run(program: Program, monitor: "_Recorder", project: str, suffix: str) -> dict[str, str]:
    outputs: dict[str, str] = {}

    async def run() -> None:
        mocks.set_mocks(_References(), project=project, stack=suffix, monitor=monitor)
        outputs.update(await pulumi.Output.all(**program()).future() or {})

    # Each thread that runs a mock needs an event loop, which Pulumi would not close.
    loops = [asyncio.new_event_loop()]

    def set_loop() -> None:
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    try:
        with ThreadPoolExecutor(THREADS, initializer=set_loop) as threads:
            loops[0].set_default_executor(threads)
            loops[0].run_until_complete(run_pulumi_func(run))
    finally:
        for loop in loops:
            loop.close()
    return outputs


class _References(mocks.Mocks):
    """Returns the given properties, and references for the others."""

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], None]:
        raise RecordError(f"The program calls AWS: {args.token}.")

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        if not args.custom:
            return args.name, {}
        return _expression(args.typ, args.name, "id"), _state(args.typ, args.name, args.inputs)


class _Recorder(mocks.MockMonitor):
    def __init__(self) -> None:
        super().__init__(_References())
        self.recorded: list[Resource] = []
        self.components: dict[str, str] = {}
        self._names: set[str] = set()

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - Pulumi's name
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
        # The serialised code of a dynamic resource.
        properties.pop("__provider", None)
        referenced = references(properties)
        self.recorded.append(
            Resource(
                type=request.type,
                name=request.name,
                properties=properties,
                depends_on=tuple(
                    sorted(
                        {_name(urn) for urn in request.dependencies} - referenced - {request.name}
                    )
                ),
                parent=parent if parent in self.components else None,
                ignores=tuple(request.ignoreChanges),
                kept=request.protect or request.retainOnDelete,
            )
        )
        return registered


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _expression(token: str, name: str, attribute: str) -> str:
    return f"${{{type_of(token)}.{name}.{attribute}}}"


def _state(token: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """The given properties, and a reference for every other text that AWS would return."""
    returned = {
        prop: _expression(token, name, attribute_of(token, prop))
        for prop in _text_properties(token)
        if prop not in inputs
    }
    nested = {
        prop: [{inner: _expression(token, name, f"{attribute_of(token, prop)}[0].{snake(inner)}")}]
        for (type_, prop), inner in NESTED.items()
        if type_ == token
    }
    return {**inputs, **returned, **nested}


def _text_properties(token: str) -> list[str]:
    """The names of the properties of a type that are text, if the type is one of AWS's."""
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
    """Pulumi's values as data: an archive as its path, a secret as its content."""
    match value:
        case pulumi.FileArchive():
            return {"archive": value.path}
        case {rpc._special_sig_key: rpc._special_secret_sig, "value": inner}:
            return _plain(inner)
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value
