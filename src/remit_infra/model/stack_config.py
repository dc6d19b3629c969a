"""The configuration of a Pulumi stack: the keys that both Pulumi topologies have, and how a
configuration is read, from Pulumi or from the stack's file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec

from remit_infra.model.environments import (
    MIGRATION_DATE,
    ConfigurationError,
    Environment,
    Names,
    environment_of,
    require_date,
    require_network,
)

REGION = "aws:region"
DEPLOY_FOLDER = Path("deploy")


class StackConfiguration(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """The keys that both Pulumi topologies have. In the file, names are in camel case.

    Creating one raises ConfigurationError for what cannot be deployed. `longest_names` are (kind,
    resource): of each kind, at least the longest name in the topology.
    """

    longest_names: ClassVar[tuple[tuple[str, str], ...]] = ()

    environment_suffix: str
    aws_region: str = "us-east-1"
    migration_date: str = MIGRATION_DATE
    vpc_cidr: str = "10.0.0.0/16"
    certificate_arn: str | None = None
    allow_http: bool = False
    alarm_email: str | None = None
    object_lock: bool = False
    settings: Mapping[str, str] = {}

    @property
    def names(self) -> Names:
        return Names(self.environment_suffix)

    def __post_init__(self) -> None:
        names = self.names
        names.require(self.longest_names)
        names.bucket("payment-access-logs", "", "")
        require_date(self.migration_date)
        require_network(self.vpc_cidr)
        self._require_tls(names.environment)
        self.check(names)

    def check(self, names: Names) -> None:
        """Further checks of a topology. Raises ConfigurationError."""

    def _require_tls(self, environment: Environment) -> None:
        if self.certificate_arn is not None:
            return
        if not environment.allows_http:
            raise ConfigurationError(
                f"{environment.name} speaks HTTPS only: set certificateArn to a certificate in "
                "AWS Certificate Manager."
            )
        if not self.allow_http:
            raise ConfigurationError(
                "Set certificateArn, or allowHttp to true for a stack without TLS."
            )


C = TypeVar("C", bound=StackConfiguration)


def read_configuration(project: str, kind: type[C], values: Mapping[str, Any]) -> C:
    """The configuration in `values`, which Pulumi keys by `project:name`. Lists and objects can be
    JSON text, as Pulumi passes them. Raises ConfigurationError, which names the key.
    """
    own = {
        key.removeprefix(f"{project}:"): _decode(value)
        for key, value in values.items()
        if key.startswith(f"{project}:")
    }
    if REGION in values:
        own.setdefault("awsRegion", values[REGION])
    try:
        configuration = msgspec.convert(own, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"The configuration of {project} is wrong: {error}.") from error
    region = configuration.aws_region
    if REGION in values and region != values[REGION]:
        raise ConfigurationError(
            f"awsRegion is {region} and {REGION} is {values[REGION]}: they must agree."
        )
    return configuration


def read_configuration_file(
    topology: str, project: str, kind: type[C], suffix: str, **overrides: str
) -> C:
    """The configuration in the file of the suffix's environment, with `overrides` by key.

    Raises ConfigurationError.
    """
    path = DEPLOY_FOLDER / topology / f"Pulumi.{environment_of(suffix).name}.yaml"
    if not path.is_file():
        raise ConfigurationError(f"{path} is not here: run this in the repository.")
    values: dict[str, Any] = msgspec.yaml.decode(path.read_bytes())["config"]
    own = {"environmentSuffix": suffix, **overrides}
    return read_configuration(
        project, kind, values | {f"{project}:{key}": value for key, value in own.items()}
    )


def _decode(value: Any) -> Any:
    is_json = isinstance(value, str) and value.startswith(("[", "{"))
    return msgspec.json.decode(value) if is_json else value
