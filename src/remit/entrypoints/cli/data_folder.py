"""The data folder `.remit`: where it is, and what `remit up` leaves in it for other commands."""

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from remit.settings import Settings, read_settings

NAME = ".remit"

KEY_FILE = "example.key"
"""Keeps the laptop's own test key, so that a second start can show it again."""

ADDRESS_FILE = "address"
"""Stores the address of the running service, for commands that are not given one."""

_SAY_WHERE = ("PORT", "REMIT_HOST", "REMIT_PORT")


def command_settings() -> Settings:
    """The settings of a command: the environment's, with the data folder found as `find` does.
    Raises SettingsError.
    """
    settings = read_settings(os.environ)
    if "REMIT_DATA_DIR" in os.environ:
        return settings
    return replace(settings, data_dir=find(Path.cwd()))


def find(folder: Path) -> Path:
    """The data folder of `folder` or of the nearest one above it, as git finds its own.

    One above that is another user's is passed over: whose data a command takes is not for a
    stranger to say. Where there is none it is to be made in `folder`.
    """
    own = folder / NAME
    if own.is_dir():
        return own
    for above in folder.parents:
        candidate = above / NAME
        if candidate.is_dir() and candidate.stat().st_uid == os.geteuid():
            return candidate
    return own


def remember_address(settings: Settings) -> None:
    (settings.data_dir / ADDRESS_FILE).write_text(address_of(settings) + "\n")


def forget_address(settings: Settings) -> None:
    (settings.data_dir / ADDRESS_FILE).unlink(missing_ok=True)


def service_address(settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """Where the service of this machine is: as the environment says, else where `remit up` was
    started, else at the usual place.
    """
    if not any(environ.get(name) for name in _SAY_WHERE):
        try:
            return (settings.data_dir / ADDRESS_FILE).read_text().strip()
        except OSError:
            pass
    return address_of(settings)


def address_of(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def own_key(settings: Settings) -> str | None:
    """The laptop's own test key. None where `remit up` has made none yet."""
    try:
        return (settings.data_dir / KEY_FILE).read_text().strip() or None
    except OSError:
        return None
