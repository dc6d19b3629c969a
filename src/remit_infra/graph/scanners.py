"""The security scanners, and the suppressions of their findings.

`suppressions.toml` is the only place that suppresses a finding: by rule and resource, with the
reason. An entry that suppresses nothing any more is itself a finding.
"""

import fnmatch
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

SUPPRESSIONS = Path(__file__).with_name("suppressions.toml")
SCANNER = Path(sys.prefix) / "scan" / "bin" / "checkov"
LINTER = Path(sys.executable).with_name("cfn-lint")


class ScannerError(Exception):
    """A scanner did not run. The message says why."""


class Finding(msgspec.Struct, frozen=True, order=True):
    """The scanner's rule, the resource that breaks it, and the problem."""

    rule: str
    resource: str
    problem: str


class Suppression(msgspec.Struct, frozen=True, kw_only=True):
    """Accepts findings of a topology, by patterns of rules and resources."""

    topology: str
    rules: tuple[str, ...]
    resources: tuple[str, ...]
    reason: str

    def covers(self, finding: Finding) -> bool:
        return _matches(finding.rule, self.rules) and _matches(finding.resource, self.resources)


def _matches(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)


def read_suppressions(topology: str, path: Path = SUPPRESSIONS) -> tuple[Suppression, ...]:
    """The topology's entries of the file. Raises ValueError for an entry without a reason."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    entries = msgspec.convert(content["accepted"], tuple[Suppression, ...])
    return tuple(entry for entry in entries if entry.topology == topology)


def unsuppressed(
    findings: Iterable[Finding], suppressions: Sequence[Suppression], *, complete: bool = True
) -> list[Finding]:
    """The findings that no suppression covers. If they are `complete`, of every scanner and
    environment, also a finding for each rule of a suppression that covers nothing.
    """
    unique = sorted(set(findings))
    uncovered = [
        finding
        for finding in unique
        if not any(suppression.covers(finding) for suppression in suppressions)
    ]
    stale = [
        Finding("suppressions", rule, f"accepts nothing any more: {suppression.reason}")
        for suppression in suppressions
        for rule in suppression.rules
        if not any(_matches(f.rule, [rule]) and suppression.covers(f) for f in unique)
    ]
    return uncovered + (stale if complete else [])


def cfn_lint(template: Mapping[str, Any], region: str = "us-east-1") -> list[Finding]:
    """The findings of cfn-lint, warnings included, by CloudFormation's schemas."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "template.json"
        path.write_text(json.dumps(template), encoding="utf-8")
        command = [str(LINTER), "--template", str(path), "--format", "json", "--regions", region]
        ended = subprocess.run(  # nosec B603
            command, capture_output=True, text=True, check=False
        )
    if not ended.stdout.startswith("["):
        raise ScannerError(f"cfn-lint did not run: {ended.stderr.strip() or ended.stdout.strip()}")
    return [
        Finding(match["Rule"]["Id"], _resource(match["Location"].get("Path")), match["Message"])
        for match in json.loads(ended.stdout)
    ]


def _resource(path: Sequence[object] | None) -> str:
    """The resource's name in a path such as `Resources/transactions/Properties`."""
    return "/".join(str(part) for part in (path or ())[1:2]) or "template"


def checkov(*documents: Mapping[str, Any], command: Path = SCANNER) -> list[Finding]:
    """The findings of checkov in CloudFormation templates or in Terraform JSON. Needs no network.

    One run for all of them, because most of its time is checkov's own start.
    """
    if not command.exists():
        raise ScannerError(f"{command.name} is not installed: run `make aws`.")
    is_terraform = "resource" in documents[0]
    name = "main.tf.json" if is_terraform else "template.json"
    framework = "terraform_json" if is_terraform else "cloudformation"
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / str(number) / name for number in range(len(documents))]
        for path, document in zip(paths, documents, strict=True):
            path.parent.mkdir()
            path.write_text(json.dumps(_with_containers(document), indent=1), encoding="utf-8")
        ended = subprocess.run(  # nosec B603
            [
                *(str(command), "--file", *map(str, paths), "--framework", framework),
                *("--output", "json", "--quiet", "--compact", "--skip-download"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        report = json.loads(ended.stdout)
    except json.JSONDecodeError as error:
        raise ScannerError(f"checkov did not run: {ended.stderr.strip()}") from error
    if report["summary"]["parsing_errors"] or not report["summary"]["passed"]:
        raise ScannerError("checkov could not read a document.")
    return [
        Finding(check["check_id"], check["resource"].rpartition(".")[2], check["check_name"])
        for check in report["results"]["failed_checks"]
    ]


def _with_containers(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document with the containers of task definitions as lists: checkov reads no JSON text."""
    resources = document.get("resource", {})
    tasks = resources.get("aws_ecs_task_definition")
    if not tasks:
        return document
    decoded = {
        name: {**task, "container_definitions": json.loads(task["container_definitions"])}
        for name, task in tasks.items()
    }
    return {**document, "resource": {**resources, "aws_ecs_task_definition": decoded}}
