"""Settings: the environment variables, read once into one frozen value.

A variable is the field's name in capitals with the prefix REMIT_. An unknown REMIT_ variable is
rejected, so that a misspelt one is not silently ignored.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import inspect

PREFIX = "REMIT_"

OUTPUTS_FAILED = "REMIT_OUTPUTS_FAILED"
"""Set to a command that failed, in a shell that ran `eval "$(remit outputs … --shell)"`. Without it
the next command would act on this machine's data, or on the earlier deployment.
"""

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class SettingsError(Exception):
    """A setting is unknown, missing or has a wrong value. The message names the variable."""


class Secret(str):
    """Secret text. Its representation does not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(…)"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, with its unit in its name and its default for a laptop."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8000
    data_dir: Path = Path(".remit")
    database_url: Secret | None = None
    database_endpoint: str | None = None
    database_name: str = "payments"
    database_secret_arn: str | None = None
    database_ca: Path | None = None
    cache_endpoint: str | None = None
    cache_name: str | None = None
    cache_user: str | None = None
    cache_ca: Path | None = None
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"

    transactions_table: str | None = None
    work_queue_url: str | None = None
    work_dead_letter_url: str | None = None
    notification_topic_arn: str | None = None
    alarm_topic_arn: str | None = None
    audit_bucket: str | None = None
    audit_key_id: str | None = None
    audit_retention_days: Count | None = None
    card_key_id: str | None = None
    fingerprint_key_id: str | None = None
    monitored_metrics: str | None = None
    service_name: str | None = None
    trace_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    usage_plan_id: str | None = None
    operator_function: str | None = None
    operator_task: str | None = None

    default_currency: str = "USD"
    max_amount_minor: Count = 99_999_999
    max_body_bytes: Count = 65_536
    body_timeout_seconds: Seconds = 10.0
    rate_per_second: Count = 1_000
    rate_burst: Count = 2_000
    api_key_cache_seconds: Seconds = 1.0
    cache_seconds: Seconds = 5.0

    processor_timeout_seconds: Seconds = 10.0
    claim_margin_seconds: Seconds = 5.0
    card_retention_seconds: Count = 7 * 24 * 3600
    queue_retention_seconds: Count = 24 * 3600
    idempotency_retention_seconds: Count = 48 * 3600

    work_max_receives: Count = 5
    work_visibility_seconds: Seconds = 30.0
    work_retry_seconds: Seconds = 2.0
    work_wait_seconds: Annotated[int, msgspec.Meta(ge=0, le=20)] = 10
    work_concurrency: Count = 16
    stop_seconds: Seconds = 50.0
    drain_seconds: Annotated[float, msgspec.Meta(ge=0, le=3_600)] = 0.0
    worker_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    lease_seconds: Seconds = 30.0
    idle_after_seconds: Seconds | None = None
    relay_batch: Count = 500
    relay_interval_seconds: Seconds = 0.2
    archive_batch: Count = 2_000
    archive_interval_seconds: Seconds = 1.0
    sweep_interval_seconds: Seconds = 2.0

    simulator_modulus: Count = 1_000
    simulator_timeout_at: int | None = None
    simulator_late_at: int | None = None
    simulator_lost_at: int | None = None
    simulator_down_at: int | None = None
    simulator_late_seconds: Seconds = 2.0

    def require(self, name: str) -> str:
        """The text of a setting that the topology needs. Raises SettingsError if it is not set."""
        value: str | None = getattr(self, name)
        if value is None:
            raise SettingsError(f"{PREFIX}{name.upper()} is not set.")
        return value

    @property
    def is_in_aws(self) -> bool:
        operators = (self.operator_function, self.operator_task)
        stores = (self.database_secret_arn, self.transactions_table, *operators)
        return any(store is not None for store in stores)

    @property
    def names_a_store(self) -> bool:
        """Whether the settings name a database, so that this machine's data folder is not used."""
        return self.is_in_aws or self.database_url is not None

    def audit_expired_before(self, now: datetime) -> datetime | None:
        """Objects of the audit trail from before this time may be deleted. None if none are."""
        days = self.audit_retention_days
        return None if days is None else now - timedelta(days=days)

    @property
    def card_retention(self) -> timedelta:
        return timedelta(seconds=self.card_retention_seconds)

    @property
    def claim_lease(self) -> timedelta:
        """How long a claim is leased: longer than any wait for the processor."""
        return timedelta(seconds=self.processor_timeout_seconds + self.claim_margin_seconds)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings in environment variables. Raises SettingsError, which names the variable."""
    if failed := environ.get(OUTPUTS_FAILED):
        raise SettingsError(
            f"This shell was to have the settings of a deployment, and `remit {failed}` failed. "
            f"Run it again, or `unset {OUTPUTS_FAILED}` to work without them."
        )
    variables = {
        name.removeprefix(PREFIX).lower(): name
        for name in environ
        if name.startswith(PREFIX) and name != OUTPUTS_FAILED
    }
    if environ.get("PORT"):
        variables.setdefault("port", "PORT")
    values = {name: environ[variable] for name, variable in variables.items()}
    unknown = sorted(values.keys() - set(Settings.__struct_fields__))
    if unknown:
        raise SettingsError(f"{variables[unknown[0]]} is not a setting. See `remit settings`.")
    if "log_level" in values:
        values["log_level"] = values["log_level"].lower()
    for name, value in values.items():
        try:
            msgspec.convert({name: value}, Settings, strict=False, dec_hook=_decode)
        except msgspec.ValidationError as error:
            raise SettingsError(
                f"{variables[name]} is {value!r} and must be {_allowed_values(name)}."
            ) from error
    return msgspec.convert(values, Settings, strict=False, dec_hook=_decode)


def _decode(kind: type, value: object) -> object:
    if kind in (Path, Secret) and isinstance(value, str):
        return kind(value)
    raise NotImplementedError(kind)


def _allowed_values(name: str) -> str:
    """The values that a setting's type allows, in words."""
    declared = inspect.type_info(Settings.__annotations__[name])
    union = declared.types if isinstance(declared, inspect.UnionType) else (declared,)
    [kind] = [member for member in union if not isinstance(member, inspect.NoneType)]
    match kind:
        case inspect.LiteralType():
            return f"one of {', '.join(get_args(Settings.__annotations__[name]))}"
        case inspect.IntType(ge=least, le=most):
            return f"a whole number{_range(least, most)}"
        case inspect.FloatType(gt=None, ge=least, le=most):
            return f"a number{_range(least, most)}"
        case inspect.FloatType(gt=above, le=most):
            return f"a number above {above:g} and at most {most:g}"
        case _:
            return "text"


def _range(least: float | None, most: float | None) -> str:
    if least is None:
        return ""
    return f" of at least {least:g}" if most is None else f" from {least:g} to {most}"
