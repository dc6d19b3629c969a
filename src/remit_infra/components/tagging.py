"""The common tags and a `Name` on everything that takes tags, in one place."""

from collections.abc import Mapping

import pulumi


def tag_everything(common: Mapping[str, str], suffix: str) -> None:
    """From now on every resource of the program has these tags, and its own name."""

    def tag(
        made: pulumi.ResourceTransformationArgs,
    ) -> pulumi.ResourceTransformationResult | None:
        if not hasattr(type(made.resource), "tags"):
            return None
        named = {**common, "Name": f"{made.name}-{suffix}"}
        return pulumi.ResourceTransformationResult({**made.props, "tags": named}, made.opts)

    pulumi.runtime.register_stack_transformation(tag)
