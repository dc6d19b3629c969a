"""The configuration of a Pulumi stack: from Pulumi when it runs, else from the stack's file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from pulumi.runtime import get_config_env

from remit_infra.model.environments import ConfigurationError, environment_of

REGION = "aws:region"
DEPLOY_FOLDER = Path("deploy")

T = TypeVar("T", bound=msgspec.Struct)


def stack_configuration(project: str, kind: type[T]) -> T:
    """The configuration that Pulumi runs this stack with. Raises Refused, and names the key."""
    return _configuration(project, kind, get_config_env())


def file_configuration(topology: str, project: str, kind: type[T], suffix: str, **more: str) -> T:
    """The configuration in the stack's file, for the environment that the suffix begins with, with
    `more` of it by key. Raises Refused.
    """
    path = DEPLOY_FOLDER / topology / f"Pulumi.{environment_of(suffix).name}.yaml"
    if not path.is_file():
        raise ConfigurationError(f"{path} is not here: run this in the repository.")
    found: dict[str, Any] = msgspec.yaml.decode(path.read_bytes())["config"]
    own = {"environmentSuffix": suffix, **more}
    return _configuration(
        project, kind, found | {f"{project}:{key}": value for key, value in own.items()}
    )


def _configuration(project: str, kind: type[T], given: Mapping[str, Any]) -> T:
    own = {
        key.removeprefix(f"{project}:"): _structured(value)
        for key, value in given.items()
        if key.startswith(f"{project}:")
    }
    if REGION in given:
        own.setdefault("awsRegion", given[REGION])
    try:
        configuration = msgspec.convert(own, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"The configuration of {project} is wrong: {error}.") from error
    region = getattr(configuration, "aws_region", None)
    if REGION in given and region != given[REGION]:
        raise ConfigurationError(
            f"awsRegion is {region} and {REGION} is {given[REGION]}: they must agree."
        )
    return configuration


def _structured(value: Any) -> Any:
    """Pulumi hands lists and objects over as JSON text."""
    is_json = isinstance(value, str) and value.startswith(("[", "{"))
    return msgspec.json.decode(value) if is_json else value
