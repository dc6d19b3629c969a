"""What a look at the service's health finds: of one dependency, and of all of them together."""

from datetime import datetime

import msgspec

from remit.domain.change import Message


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One dependency or measure: well or not, and what was seen."""

    ok: bool
    detail: str | None = None


class HealthState(msgspec.Struct, frozen=True, kw_only=True):
    """What the health monitor saw last: each failing check with its detail, and the alerts that
    were decided on but perhaps not sent. `version` counts the looks.
    """

    version: int = 0
    at: datetime | None = None
    failing: dict[str, str] = {}
    owed: tuple[Message, ...] = ()
