"""The scanners run, find what is wrong, and find nothing that is not accepted with a reason."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import aws_s3 as s3

from remit_infra.graph.scanners import (
    Finding,
    Suppression,
    cfn_lint,
    checkov,
    read_suppressions,
    unsuppressed,
)
from remit_infra.topologies.lambda_dynamodb.nag import cdk_nag
from remit_infra.topologies.lambda_dynamodb.stack import LambdaDynamodbStack
from tests.infra.graphs import Template
from tests.tidy.tree import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("graphs")]

CHECKOV = ROOT / ".venv/scan/bin/checkov"
TOPOLOGY = "lambda-dynamodb"


def first(template: Template, kind: str) -> tuple[str, dict[str, Any]]:
    """The name and the properties of a resource of that type."""
    return next(
        (name, resource["Properties"])
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    )


@pytest.mark.parametrize("suffix", ["dev", "prod"])
def test_nothing_is_found_that_is_not_accepted(templates: dict[str, Template], suffix: str) -> None:
    template = templates[suffix]
    findings = [*cdk_nag(suffix=suffix), *cfn_lint(template), *checkov(template, command=CHECKOV)]
    assert unsuppressed(findings, read_suppressions(TOPOLOGY)) == []


def test_at_most_nine_entries_each_with_its_reason() -> None:
    accepted = read_suppressions(TOPOLOGY)
    assert len(accepted) <= 9
    assert all(len(entry.reason) > 40 for entry in accepted)


def test_cfn_lint_finds_what_cloudformation_would_refuse(templates: dict[str, Template]) -> None:
    template = deepcopy(templates["dev"])
    first(template, "AWS::Lambda::Function")[1]["Runtime"] = "python3.3"
    assert cfn_lint(template) != []


def test_checkov_finds_a_queue_that_is_not_encrypted(templates: dict[str, Template]) -> None:
    template = deepcopy(templates["dev"])
    name, queue = first(template, "AWS::SQS::Queue")
    del queue["KmsMasterKeyId"]
    found = unsuppressed(checkov(template, command=CHECKOV), read_suppressions(TOPOLOGY))
    assert name in {finding.resource for finding in found}


def test_cdk_nag_finds_an_open_bucket() -> None:
    class Careless(LambdaDynamodbStack):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type]
            s3.Bucket(self, "open")

    found = unsuppressed(cdk_nag(Careless, suffix="dev"), read_suppressions(TOPOLOGY))
    rules = {finding.rule for finding in found if finding.resource == "open"}
    assert {"AwsSolutions-S10", "PCI.DSS.321-S3BucketVersioningEnabled"} <= rules


def test_an_entry_covers_its_own_findings_and_is_told_when_it_covers_none() -> None:
    entry = Suppression(topology="t", rules=("A-*", "B-1"), resources=("api*",), reason="because")
    mine, other = Finding("A-1", "api", "…"), Finding("A-1", "table", "…")
    assert unsuppressed([mine, other], [entry]) == [
        other,
        Finding("suppressions", "B-1", "accepts nothing any more: because"),
    ]


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "suppressions.toml"
    path.write_text('[[accepted]]\ntopology = "t"\nrules = ["A"]\nresources = ["*"]\n')
    with pytest.raises(ValueError, match="reason"):
        read_suppressions("t", path)
