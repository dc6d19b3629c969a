"""After everything else: the stack is destroyed."""

import pytest

from tests.emulated.fargate.conftest import Stack

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("fargate"),
]


def test_destroying_leaves_nothing(stack: Stack) -> None:
    stack.terraform.destroy()
    resources = stack.client("resourcegroupstaggingapi").get_resources(
        TagFilters=[{"Key": "Project", "Values": ["payment-processing"]}]
    )
    left = [found["ResourceARN"] for found in resources["ResourceTagMappingList"]]
    # A key is only ever deleted after a waiting period.
    kms = stack.client("kms")
    states = {arn: kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] for arn in left}
    assert set(states.values()) == {"PendingDeletion"}
    assert stack.terraform.outputs() == {}
