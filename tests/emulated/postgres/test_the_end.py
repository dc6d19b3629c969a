"""After everything else: nothing to change, and then nothing left."""

import pytest

from remit_infra.emulated_terraform import LEFT_OUT, drift
from tests.emulated.postgres.conftest import Stack

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("terraform"),
]


def test_a_second_plan_changes_nothing_and_the_end_leaves_nothing(stack: Stack) -> None:
    """The last: there is nothing left afterwards."""
    plan = stack.terraform.plan()
    assert drift(plan) == []
    applied = {change["type"] for change in plan["resource_changes"]}
    assert not applied & LEFT_OUT.keys()
    stack.terraform.destroy()
    resources = stack.emulator.client("resourcegroupstaggingapi").get_resources(
        TagFilters=[{"Key": "Project", "Values": ["payment-processing"]}]
    )
    left = [found["ResourceARN"] for found in resources["ResourceTagMappingList"]]
    # A key is only ever deleted after a waiting period.
    kms = stack.emulator.client("kms")
    states = {arn: kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] for arn in left}
    assert set(states.values()) == {"PendingDeletion"}
    assert stack.terraform.outputs() == {}
