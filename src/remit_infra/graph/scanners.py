"""The security scanners over a topology, with the findings that are accepted left out.

`suppressions.toml` is the only place where a finding is accepted: by rule and resource, each entry
with its reason. An entry that no finding needs any more is itself a finding.
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
SCANNER = Path(".venv/scan/bin/checkov")
LINTER = Path(sys.executable).with_name("cfn-lint")


class ScannerError(Exception):
    """A scanner cannot be run. The message says why."""


class Finding(msgspec.Struct, frozen=True, order=True):
    """What a scanner does not like: its rule, the resource, and why."""

    rule: str
    resource: str
    problem: str


class Suppression(msgspec.Struct, frozen=True, kw_only=True):
    """Findings that are accepted for a topology, by patterns of rules and resources."""

    topology: str
    rules: tuple[str, ...]
    resources: tuple[str, ...]
    reason: str

    def covers(self, finding: Finding) -> bool:
        return _matches(finding.rule, self.rules) and _matches(finding.resource, self.resources)


def _matches(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)


def read_suppressions(topology: str, path: Path = SUPPRESSIONS) -> tuple[Suppression, ...]:
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    entries = msgspec.convert(found["accepted"], tuple[Suppression, ...])
    return tuple(entry for entry in entries if entry.topology == topology)


def unsuppressed(
    findings: Iterable[Finding], accepted: Sequence[Suppression], *, complete: bool = True
) -> list[Finding]:
    """The findings that no entry covers. If they are `complete`, of every scanner and environment,
    also one for each rule of an entry that covers none.
    """
    found = sorted(set(findings))
    left = [finding for finding in found if not any(entry.covers(finding) for entry in accepted)]
    stale = [
        Finding("suppressions", rule, f"accepts nothing any more: {entry.reason}")
        for entry in accepted
        for rule in entry.rules
        if not any(_matches(f.rule, [rule]) and entry.covers(f) for f in found)
    ]
    return left + (stale if complete else [])


def cfn_lint(template: Mapping[str, Any], region: str = "us-east-1") -> list[Finding]:
    """CloudFormation's own schemas; warnings count."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "template.json"
        path.write_text(json.dumps(template), encoding="utf-8")
        command = [str(LINTER), "--template", str(path), "--format", "json", "--regions", region]
        ran = subprocess.run(  # nosec B603
            command, capture_output=True, text=True, check=False
        )
    if not ran.stdout.startswith("["):
        raise ScannerError(f"cfn-lint did not run: {ran.stderr.strip() or ran.stdout.strip()}")
    return [
        Finding(found["Rule"]["Id"], _where(found["Location"].get("Path")), found["Message"])
        for found in json.loads(ran.stdout)
    ]


def _where(path: Sequence[object] | None) -> str:
    return "/".join(str(part) for part in (path or ())[1:2]) or "template"


def checkov(document: Mapping[str, Any], command: Path = SCANNER) -> list[Finding]:
    """Misconfigured resources, by checkov's policies for what the document is: a CloudFormation
    template or Terraform JSON. Needs no network.
    """
    if not command.exists():
        raise ScannerError(f"{command} is not there: run `make .venv/.scan`.")
    is_terraform = "resource" in document
    name = "main.tf.json" if is_terraform else "template.json"
    framework = "terraform_json" if is_terraform else "cloudformation"
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(json.dumps(_unfolded(document), indent=1), encoding="utf-8")
        ran = subprocess.run(  # nosec B603
            [
                *(str(command), "--file", str(path), "--framework", framework),
                *("--output", "json", "--quiet", "--compact", "--skip-download"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        report = json.loads(ran.stdout)
    except json.JSONDecodeError as error:
        raise ScannerError(f"checkov did not run: {ran.stderr.strip()}") from error
    if report["summary"]["parsing_errors"] or not report["summary"]["passed"]:
        raise ScannerError("checkov could not read the document.")
    return [
        Finding(found["check_id"], found["resource"].rpartition(".")[2], found["check_name"])
        for found in report["results"]["failed_checks"]
    ]


def _unfolded(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document with its tasks' containers as lists: checkov passes every text unread."""
    resources = document.get("resource", {})
    tasks = resources.get("aws_ecs_task_definition")
    if not tasks:
        return document
    unfolded = {
        name: {**task, "container_definitions": json.loads(task["container_definitions"])}
        for name, task in tasks.items()
    }
    return {**document, "resource": {**resources, "aws_ecs_task_definition": unfolded}}
