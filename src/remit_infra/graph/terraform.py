"""A recorded Pulumi program as Terraform JSON, and Terraform's own verdict on it.

Pulumi's AWS provider is Terraform's, so what the program means can be validated, planned and
applied by the real provider: against an emulator, with no account and without Pulumi's engine.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
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
"""Properties whose keys are the user's own words."""

LISTS = frozenset({("aws:apigateway/restApi:RestApi", "types")})
"""What Pulumi takes alone and Terraform as a list of one."""

Adapt = Callable[[str, dict[str, Any]], dict[str, Any] | None]
"""Changes a resource for the place where it is applied, by type; None leaves it out."""


class TerraformError(Exception):
    """Terraform is missing or refuses. The message says what it said."""


def to_terraform(
    graph: Graph, provider: Mapping[str, Any], adapt: Adapt = lambda _, given: given
) -> dict[str, Any]:
    """The graph as one Terraform JSON file."""
    types = {resource.name: type_of(resource.type) for resource in graph.resources}
    made: dict[str, dict[str, Any]] = {}
    for resource in graph.resources:
        kind = types[resource.name]
        body = adapt(kind, _body(resource, types))
        if body is not None:
            made.setdefault(kind, {})[resource.name] = body
    kept = {f"{kind}.{name}" for kind, resources in made.items() for name in resources}
    for resources in made.values():
        for body in resources.values():
            body["depends_on"] = [one for one in body.get("depends_on", ()) if one in kept]
    return {
        "terraform": {"required_providers": {"aws": {"source": PROVIDER}}},
        "provider": {"aws": dict(provider)},
        "resource": made,
        "output": {name: {"value": value} for name, value in graph.outputs.items()},
    }


def _body(resource: Resource, types: Mapping[str, str]) -> dict[str, Any]:
    body = {
        attribute_of(resource.type, name): _value(resource.type, name, value)
        for name, value in resource.properties.items()
    }
    if resource.type == DYNAMIC_RESOURCE:
        body = {"input": resource.properties}
    if isinstance(code := body.pop("code", None), dict):
        body["filename"] = code["archive"]
    if resource.depends_on:
        body["depends_on"] = [f"{types[name]}.{name}" for name in resource.depends_on]
    # As Pulumi replaces, unless it is told otherwise.
    body["lifecycle"] = {"create_before_destroy": True}
    if resource.ignores:
        ignored = [attribute_of(resource.type, name) for name in resource.ignores]
        body["lifecycle"]["ignore_changes"] = ignored
    return body


def _value(token: str, name: str, value: Any) -> Any:
    if name in MAPS or not isinstance(value, (dict, list)):
        return [value] if (token, name) in LISTS else value
    if isinstance(value, list):
        return [_value(token, "", one) for one in value]
    return {block_of(key): _value(token, key, one) for key, one in value.items()}


class Terraform:
    """Terraform in a folder of its own. Raises TerraformError for whatever it refuses."""

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
        """Installs the provider: from a mirror on this machine if there is one, else from
        HashiCorp's registry.
        """
        mirror = provider_mirror()
        config = "" if mirror is None else _mirrored(mirror)
        (self._folder / "terraformrc").write_text(config, encoding="utf-8")
        self._run("init", "-input=false", "-no-color")

    def validate(self) -> list[str]:
        """What the provider's schema does not know or misses, one line each."""
        ran = self._call("validate", "-json")
        return [
            f"{found.get('address') or _where(found)}: {found['summary']} {found.get('detail', '')}"
            for found in json.loads(ran.stdout)["diagnostics"]
        ]

    def apply(self) -> None:
        self._run("apply", "-auto-approve", "-input=false", "-no-color", "-parallelism=20")

    def destroy(self) -> None:
        self._run("destroy", "-auto-approve", "-input=false", "-no-color", "-parallelism=20")

    def plan(self) -> dict[str, Any]:
        """What would be changed, as Terraform's JSON has it."""
        self._run("plan", "-input=false", "-no-color", "-out=plan")
        shown: dict[str, Any] = json.loads(self._run("show", "-json", "plan"))
        return shown

    def outputs(self) -> dict[str, str]:
        found = json.loads(self._run("output", "-json"))
        return {name: str(one["value"]) for name, one in found.items()}

    def _run(self, *arguments: str) -> str:
        ran = self._call(*arguments)
        if ran.returncode != 0:
            raise TerraformError(f"terraform {arguments[0]}: {ran.stderr.strip()}")
        return ran.stdout

    def _call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # nosec B603
            [self._command, *arguments],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )


def _where(found: Mapping[str, Any]) -> str:
    return str(found.get("snippet", {}).get("context") or found.get("range", {}).get("filename"))


def provider_mirror() -> Path | None:
    """A folder of providers on this machine, which Terraform need not fetch."""
    for root in MIRRORS:
        for found in sorted(Path(root).glob(f"*/{MIRRORED}")):
            return Path(str(found).removesuffix(MIRRORED))
    return None


def _mirrored(mirror: Path) -> str:
    return f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n'
