"""The result of one health check, and the state that the health monitor records."""

from datetime import datetime

import msgspec

from remit.domain.change import Message


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One dependency or metric: whether it is well, and a detail for people."""

    ok: bool
    detail: str | None = None


class HealthState(msgspec.Struct, frozen=True, kw_only=True):
    """What the health monitor recorded last. `version` counts its runs.

    `failing` has each failing check with its detail. `unsent_alerts` are recorded before they are
    sent, so that another monitor sends them if this one dies in between.
    """

    version: int = 0
    at: datetime | None = None
    failing: dict[str, str] = {}
    unsent_alerts: tuple[Message, ...] = ()
