"""The tags of every resource."""

import pulumi

from remit_infra.model.environments import Names, common_tags


def tag_resources(names: Names, *, migration_date: str) -> None:
    """Gives every taggable resource that is made after this call the common tags and a `Name`."""
    common = common_tags(names.environment, migration_date=migration_date, managed_by="pulumi")

    def transform(
        args: pulumi.ResourceTransformationArgs,
    ) -> pulumi.ResourceTransformationResult | None:
        if not hasattr(type(args.resource), "tags"):
            return None
        tags = {**common, "Name": f"{args.name}-{names.suffix}"}
        return pulumi.ResourceTransformationResult({**args.props, "tags": tags}, args.opts)

    pulumi.runtime.register_stack_transformation(transform)
