"""cdk-nag, which checks the stack by the rules of AWS Solutions, PCI DSS 3.2.1 and NIST 800-53."""

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks, NIST80053R5Checks, PCIDSS321Checks
from jsii.errors import JSIIError

from remit_infra.graph.scanners import Finding, ScannerError
from remit_infra.topologies.lambda_dynamodb.configuration import LambdaDynamodbConfiguration
from remit_infra.topologies.lambda_dynamodb.stack import LambdaDynamodbStack

PACKS = (AwsSolutionsChecks, NIST80053R5Checks, PCIDSS321Checks)


def cdk_nag(
    stack: type[LambdaDynamodbStack] = LambdaDynamodbStack, **options: Any
) -> list[Finding]:
    """The findings of the three packs in the stack, for the options of its configuration."""
    with TemporaryDirectory() as folder:
        app = App(analytics_reporting=False, outdir=folder)
        stack(app, LambdaDynamodbConfiguration(**options))
        Validations.of(app).add_plugins(*(pack(app) for pack in PACKS))
        # Synthesis fails if there are findings, after it has written the report.
        with suppress(JSIIError, RuntimeError):
            app.synth()
        report = Path(folder) / "validation-report.json"
        if not report.exists():
            raise ScannerError("cdk-nag wrote no report.")
        plugins = json.loads(report.read_text(encoding="utf-8"))["pluginReports"]
    if len(plugins) != len(PACKS):
        raise ScannerError(f"{len(plugins)} of {len(PACKS)} packs reported.")
    return [
        Finding(violation["ruleName"], _path(construct), violation["description"])
        for plugin in plugins
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    ]


def _path(construct: dict[str, Any]) -> str:
    return str(construct["constructPath"]).partition("/")[2].removesuffix("/Resource")
