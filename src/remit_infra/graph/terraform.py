"""A recorded Pulumi program as Terraform JSON, and Terraform's command line.

Pulumi's AWS provider is made from Terraform's. So Terraform can validate, plan and apply a program
with the real provider, against an emulator, without an account and without Pulumi's engine.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import Any

from remit_infra.graph.graph import Graph, Resource
from remit_infra.graph.terraform_names import DYNAMIC_RESOURCE, attribute_of, block_of, type_of

PROVIDER = "hashicorp/aws"
MIRRORED = "registry.terraform.io/hashicorp/aws"
INSTALL = (
    "terraform is not on PATH. Install it: https://developer.hashicorp.com/terraform/install ."
)
MIRRORS = ("/opt", "/usr/share", "/usr/local/share", "/var/lib")

MAPS = frozenset(
    {
        "dimensions",
        "requestModels",
        "requestParameters",
        "responseParameters",
        "responseTemplates",
        "tags",
        "triggers",
        "variables",
    }
)
"""Properties whose keys are free, so they are not converted to Terraform's case."""

LISTS = frozenset({("aws:apigateway/restApi:RestApi", "types")})
"""Properties that are one value in Pulumi and a list of one in Terraform."""

Adapt = Callable[[str, dict[str, Any]], dict[str, Any] | None]
"""Changes a resource, by its type and arguments, for where it is applied. None leaves it out."""


Report = Callable[[str, int, int], None]
"""Takes the resource that was done last, and how many of how many are done."""

_CHANGE_OPTIONS = ("-auto-approve", "-input=false", "-no-color", "-parallelism=20")
_PLANNED = re.compile(r"Plan: (\d+) to add, (\d+) to change, (\d+) to destroy\.")
_DONE = re.compile(r"(\S+): (?:Creation|Modifications|Destruction) complete after ")


class TerraformError(Exception):
    """Terraform is missing or failed. The message is Terraform's."""


def to_terraform(
    graph: Graph, provider: Mapping[str, Any], adapt: Adapt = lambda _, arguments: arguments
) -> dict[str, Any]:
    """The graph as the content of one Terraform JSON file."""
    types = {resource.name: type_of(resource.type) for resource in graph.resources}
    blocks: dict[str, dict[str, Any]] = {}
    for resource in graph.resources:
        type_ = types[resource.name]
        arguments = adapt(type_, _arguments(resource, types))
        if arguments is not None:
            blocks.setdefault(type_, {})[resource.name] = arguments
    addresses = {f"{type_}.{name}" for type_, resources in blocks.items() for name in resources}
    for resources in blocks.values():
        for arguments in resources.values():
            arguments["depends_on"] = [
                address for address in arguments.get("depends_on", ()) if address in addresses
            ]
    return {
        "terraform": {"required_providers": {"aws": {"source": PROVIDER}}},
        "provider": {"aws": dict(provider)},
        "resource": blocks,
        "output": {name: {"value": value} for name, value in graph.outputs.items()},
    }


def _arguments(resource: Resource, types: Mapping[str, str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        attribute_of(resource.type, name): _value(resource.type, name, value)
        for name, value in resource.properties.items()
    }
    if resource.type == DYNAMIC_RESOURCE:
        arguments = {"input": resource.properties}
    if isinstance(code := arguments.pop("code", None), dict):
        arguments["filename"] = code["archive"]
    if resource.depends_on:
        arguments["depends_on"] = [f"{types[name]}.{name}" for name in resource.depends_on]
    # Pulumi creates the replacement before it deletes the old resource.
    arguments["lifecycle"] = {"create_before_destroy": True}
    if resource.ignores:
        ignored = [attribute_of(resource.type, name) for name in resource.ignores]
        arguments["lifecycle"]["ignore_changes"] = ignored
    return arguments


def _value(token: str, name: str, value: Any) -> Any:
    if name in MAPS or not isinstance(value, (dict, list)):
        return [value] if (token, name) in LISTS else value
    if isinstance(value, list):
        return [_value(token, "", item) for item in value]
    return {block_of(key): _value(token, key, item) for key, item in value.items()}


class Terraform:
    """Terraform's command line in a folder of its own. Raises TerraformError where it fails."""

    def __init__(self, folder: Path, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        command = shutil.which("terraform")
        if command is None:
            raise TerraformError(INSTALL)
        self._command = command
        self._folder = folder
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
            "TF_CLI_CONFIG_FILE": str(folder / "terraformrc"),
            **environment,
        }

    def write(self, program: Mapping[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(program, indent=1, sort_keys=True)
        (self._folder / "main.tf.json").write_text(text, encoding="utf-8")

    def init(self) -> None:
        """Installs the provider, from a mirror on this machine or from HashiCorp's registry."""
        mirror = provider_mirror()
        config = "" if mirror is None else _mirror_config(mirror)
        (self._folder / "terraformrc").write_text(config, encoding="utf-8")
        self._run("init", "-input=false", "-no-color")

    def validate(self) -> list[str]:
        """The errors against the provider's schema, one line each."""
        ended = self._call("validate", "-json")
        return [
            f"{each.get('address') or _place(each)}: {each['summary']} {each.get('detail', '')}"
            for each in json.loads(ended.stdout)["diagnostics"]
        ]

    def apply(self, report: Report = lambda *_: None) -> None:
        self._change("apply", report)

    def destroy(self, report: Report = lambda *_: None) -> None:
        self._change("destroy", report)

    def plan(self) -> dict[str, Any]:
        """The changes that `apply` would make, in Terraform's JSON."""
        self._run("plan", "-input=false", "-no-color", "-out=plan")
        plan: dict[str, Any] = json.loads(self._run("show", "-json", "plan"))
        return plan

    def outputs(self) -> dict[str, str]:
        outputs = json.loads(self._run("output", "-json"))
        return {name: str(output["value"]) for name, output in outputs.items()}

    def _change(self, command: str, report: Report) -> None:
        """Reports each resource as it is done: there may be minutes between the first and last."""
        done = total = 0
        with (
            TemporaryFile("w+", encoding="utf-8") as errors,
            subprocess.Popen(  # nosec B603
                [self._command, command, *_CHANGE_OPTIONS],
                cwd=self._folder,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as running,
        ):
            for line in running.stdout or ():
                if planned := _PLANNED.match(line):
                    total = sum(map(int, planned.groups()))
                elif resource := _DONE.match(line):
                    done += 1
                    report(resource[1], done, total)
            if running.wait() != 0:
                errors.seek(0)
                raise TerraformError(f"terraform {command}: {errors.read().strip()}")

    def _run(self, *arguments: str) -> str:
        ended = self._call(*arguments)
        if ended.returncode != 0:
            raise TerraformError(f"terraform {arguments[0]}: {ended.stderr.strip()}")
        return ended.stdout

    def _call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # nosec B603
            [self._command, *arguments],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )


def _place(diagnostic: Mapping[str, Any]) -> str:
    context = diagnostic.get("snippet", {}).get("context")
    return str(context or diagnostic.get("range", {}).get("filename"))


def provider_mirror() -> Path | None:
    """A folder on this machine from which Terraform installs providers; None if there is none."""
    for root in MIRRORS:
        for folder in sorted(Path(root).glob(f"*/{MIRRORED}")):
            return Path(str(folder).removesuffix(MIRRORED))
    return None


def _mirror_config(mirror: Path) -> str:
    return f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n'
