"""The image repository: tags are immutable, and every image is scanned."""

import json

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Context

MAX_IMAGES = 30


def make_repository(context: Context) -> aws.ecr.Repository:
    """A repository that keeps the newest images. It is deleted with the stack, images included."""
    repository = aws.ecr.Repository(
        "payment-service-repository",
        name=context.names("repository", "payment-service"),
        image_tag_mutability="IMMUTABLE",
        image_scanning_configuration={"scan_on_push": True},
        encryption_configurations=[{"encryption_type": "KMS", "kms_key": context.key.arn}],
        force_delete=True,
    )
    rule = {
        "rulePriority": 1,
        "description": f"The newest {MAX_IMAGES}",
        "selection": {
            "tagStatus": "any",
            "countType": "imageCountMoreThan",
            "countNumber": MAX_IMAGES,
        },
        "action": {"type": "expire"},
    }
    aws.ecr.LifecyclePolicy(
        "payment-service-images",
        repository=repository.name,
        policy=json.dumps({"rules": [rule]}),
        opts=pulumi.ResourceOptions(parent=repository),
    )
    return repository
