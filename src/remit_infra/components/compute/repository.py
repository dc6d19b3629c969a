"""Where the service's image is kept: a tag means one image for ever, and each is scanned."""

import json

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Ground

KEPT_IMAGES = 30


def make_repository(ground: Ground) -> aws.ecr.Repository:
    """Gone with the stack, and with it its images."""
    repository = aws.ecr.Repository(
        "payment-service-repository",
        name=ground.names("repository", "payment-service"),
        image_tag_mutability="IMMUTABLE",
        image_scanning_configuration={"scan_on_push": True},
        encryption_configurations=[{"encryption_type": "KMS", "kms_key": ground.key.arn}],
        force_delete=True,
    )
    newest = {
        "rulePriority": 1,
        "description": f"The newest {KEPT_IMAGES}",
        "selection": {
            "tagStatus": "any",
            "countType": "imageCountMoreThan",
            "countNumber": KEPT_IMAGES,
        },
        "action": {"type": "expire"},
    }
    aws.ecr.LifecyclePolicy(
        "payment-service-images",
        repository=repository.name,
        policy=json.dumps({"rules": [newest]}),
        opts=pulumi.ResourceOptions(parent=repository),
    )
    return repository
