"""Where a program runs: the zones are chosen by their kind, and always in the same order."""

from types import SimpleNamespace
from typing import Any

import pulumi_aws as aws
import pytest

from remit_infra.components.context import AwsEnvironment


def test_zones_are_those_nobody_opts_into_in_a_stable_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, Any] = {}

    def zones(**given: Any) -> Any:
        asked.update(given)
        return SimpleNamespace(names=["eu-west-1c", "eu-west-1a", "eu-west-1d", "eu-west-1b"])

    monkeypatch.setattr(aws, "get_availability_zones", zones)
    monkeypatch.setattr(aws, "get_caller_identity", lambda: SimpleNamespace(account_id="1"))
    monkeypatch.setattr(aws, "get_partition", lambda: SimpleNamespace(partition="aws"))
    aws_environment = AwsEnvironment.lookup("eu-west-1", 2)
    assert (aws_environment.region, aws_environment.zones) == (
        "eu-west-1",
        ["eu-west-1a", "eu-west-1b"],
    )
    filters = {one["name"]: one["values"] for one in asked["filters"]}
    assert asked["state"] == "available"
    assert filters == {
        "zone-type": ["availability-zone"],
        "opt-in-status": ["opt-in-not-required"],
    }
