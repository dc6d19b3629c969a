"""`remit image`: the service as a container image, built here, pushed to a stack's repository."""

from typing import Annotated

from cyclopts import Parameter

from remit.entrypoints.cli.terminal import Json, Steps, fail, print_json
from remit_infra.commands.stack import require_tools


def image(
    *,
    env: Annotated[str | None, Parameter(name="--env")] = None,
    push: Annotated[bool, Parameter(negative="")] = False,
    architecture: Annotated[str, Parameter(name="--arch")] = "arm64",
    base: str | None = None,
    json: Json = False,
) -> None:
    """Build the container image of the service. The same content has the same tag.

    With --push, acts on the account and region of the shell's credentials.

    Example: `AWS_REGION=us-east-1 remit image --push --env staging-001`

    Parameters
    ----------
    env
        The environment suffix whose repository it is pushed to.
    push
        Push it, unless its tag is there already, and print it by its digest.
    architecture
        arm64 or x86_64.
    base
        The image that it is built on, by its digest. Without it, the Python that is pinned.
    json
        Print JSON, for pipes.
    """
    if push != (env is not None):
        fail("--push and --env are given together, or neither of them.", status=2)
    require_tools()
    from remit_infra.build import container_image as images
    from remit_infra.build.docker import Docker, DockerError
    from remit_infra.deploy.pulumi_stack import fetch_authorities
    from remit_infra.deploy.pulumi_topology import named_account
    from remit_infra.model.aws_account import DeployError
    from remit_infra.model.environments import ConfigurationError

    steps = Steps()
    try:
        planned = images.plan_image(fetch_authorities, architecture, base or images.BASE)
        if env is None:
            with steps.step("building the image"):
                made = images.RepositoryImage(
                    uri=images.build_image(planned, Docker()), tag=planned.tag
                )
        else:
            clients, _, _ = named_account(env)
            with steps.step("building and pushing the image"):
                made = images.publish_image(env, planned, clients, say=steps.note)
    except (DeployError, DockerError, ConfigurationError) as error:
        fail(str(error))
    if json:
        print_json(made)
    else:
        print(made.uri)
