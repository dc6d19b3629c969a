"""Settings: which variables are read, which values are rejected, and which are never shown."""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from remit.assembly.service import assemble
from remit.settings import Secret, Settings, SettingsError, read_settings

WORD = "hunter2"
URL = f"postgresql://remit:{WORD}@db.internal/payments"


def rejection(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as rejected:
        read_settings(environ)
    return str(rejected.value)


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read_settings({}) == Settings()
    defaults = Settings()
    assert (defaults.host, defaults.port, defaults.data_dir, defaults.database_url) == (
        "127.0.0.1",
        8000,
        Path(".remit"),
        None,
    )


def test_every_setting_is_read_from_its_variable() -> None:
    given = {
        "REMIT_HOST": "0.0.0.0",
        "REMIT_PORT": "9000",
        "REMIT_DATA_DIR": "/var/lib/remit",
        "REMIT_DATABASE_URL": URL,
        "REMIT_DEFAULT_CURRENCY": "EUR",
        "REMIT_MAX_AMOUNT_MINOR": "5000",
        "REMIT_PROCESSOR_TIMEOUT_SECONDS": "2.5",
        "REMIT_CLAIM_MARGIN_SECONDS": "0.5",
        "REMIT_CARD_RETENTION_SECONDS": "60",
        "REMIT_SIMULATOR_LOST_AT": "13",
    }
    assert read_settings(given) == Settings(
        host="0.0.0.0",
        port=9000,
        data_dir=Path("/var/lib/remit"),
        database_url=Secret(URL),
        default_currency="EUR",
        max_amount_minor=5_000,
        processor_timeout_seconds=2.5,
        claim_margin_seconds=0.5,
        card_retention_seconds=60,
        simulator_lost_at=13,
    )


def test_times_are_derived_from_seconds() -> None:
    settings = Settings(
        card_retention_seconds=60, processor_timeout_seconds=2.5, claim_margin_seconds=0.5
    )
    assert settings.card_retention == timedelta(seconds=60)
    assert settings.claim_lease == timedelta(seconds=3)


def test_a_claim_lasts_longer_than_the_wait_for_the_processor() -> None:
    for environ in ({}, {"REMIT_CLAIM_MARGIN_SECONDS": "0.001"}):
        settings = read_settings(environ)
        assert settings.claim_lease > timedelta(seconds=settings.processor_timeout_seconds)


def test_variables_without_the_prefix_are_ignored() -> None:
    assert read_settings({"PATH": "/bin", "DATABASE_URL": URL, "HOST": "x"}) == Settings()


def test_an_unknown_variable_is_rejected_by_name() -> None:
    assert rejection({"REMIT_DATABSE_URL": URL}) == (
        "REMIT_DATABSE_URL is not a setting. See `remit settings`."
    )
    assert rejection({"REMIT_": "x"}).startswith("REMIT_ is not a setting.")


PORTS = "a whole number from 0 to 65535"
SECONDS = "a number above 0 and at most 86400"


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("REMIT_PORT", "http", PORTS),
        ("REMIT_PORT", "-1", PORTS),
        ("REMIT_PORT", "65536", PORTS),
        ("REMIT_PORT", "", PORTS),
        ("PORT", "99999", PORTS),
        ("REMIT_WORKER_PORT", "x", PORTS),
        ("REMIT_RATE_BURST", "0", "a whole number of at least 1"),
        ("REMIT_RATE_BURST", "1.5", "a whole number of at least 1"),
        ("REMIT_MAX_AMOUNT_MINOR", "-1", "a whole number of at least 1"),
        ("REMIT_PROCESSOR_TIMEOUT_SECONDS", "0", SECONDS),
        ("REMIT_PROCESSOR_TIMEOUT_SECONDS", "nan", SECONDS),
        ("REMIT_PROCESSOR_TIMEOUT_SECONDS", "inf", SECONDS),
        ("REMIT_PROCESSOR_TIMEOUT_SECONDS", "86401", SECONDS),
        ("REMIT_IDLE_AFTER_SECONDS", "soon", SECONDS),
        ("REMIT_TRACE_RATIO", "2", "a number from 0 to 1"),
        ("REMIT_SIMULATOR_LOST_AT", "x", "a whole number"),
        ("REMIT_LOG_LEVEL", "foo", "one of debug, info, warning, error, critical"),
    ],
)
def test_a_wrong_value_is_rejected_with_the_allowed_values(
    variable: str, value: str, allowed: str
) -> None:
    assert rejection({variable: value}) == f"{variable} is {value!r} and must be {allowed}."


def test_every_setting_can_name_its_allowed_values() -> None:
    rejected = 0
    for name in Settings.__struct_fields__:
        with suppress(SettingsError):
            read_settings({f"REMIT_{name.upper()}": "\0"})
            continue
        rejected += 1
    assert rejected > 30


def test_a_log_level_may_be_written_in_capitals() -> None:
    assert read_settings({"REMIT_LOG_LEVEL": "WARNING"}).log_level == "warning"


def test_a_shell_without_the_settings_of_its_deployment_is_rejected() -> None:
    assert rejection({"REMIT_OUTPUTS_FAILED": "outputs lambda-dynamodb --shell"}) == (
        "This shell was to have the settings of a deployment, and `remit outputs lambda-dynamodb "
        "--shell` failed. Run it again, or `unset REMIT_OUTPUTS_FAILED` to work without them."
    )


def test_the_variable_port_is_read_and_remit_port_comes_first() -> None:
    assert read_settings({"PORT": "9000"}).port == 9000
    assert read_settings({"PORT": "9000", "REMIT_PORT": "9001"}).port == 9001
    assert read_settings({"PORT": ""}).port == 8000
    assert rejection({"PORT": "http"}).startswith("PORT is 'http' and must be ")


def test_the_database_url_is_a_secret_that_no_representation_shows() -> None:
    settings = read_settings({"REMIT_DATABASE_URL": URL})
    assert isinstance(settings.database_url, Secret)
    assert settings.database_url == URL
    assert "database_url=Secret(…)" in repr(settings)
    assert not any(WORD in shown for shown in (repr(settings), str(settings), f"{settings}"))


def test_every_setting_that_names_a_secret_is_typed_as_one() -> None:
    suspicious = ("url", "secret", "password", "token", "key")
    kinds = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    suspects = {name for name in kinds if name.rsplit("_", 1)[-1] in suspicious}
    # The URL of a queue is no secret: to use it takes a permission.
    suspects -= {"work_queue_url", "work_dead_letter_url"}
    assert suspects == {"database_url"}
    assert {kinds[name] for name in suspects} == {Secret | None}


def test_a_service_without_a_database_is_not_assembled(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="REMIT_DATABASE_URL is not set"):
        assemble(Settings(data_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_settings_cannot_be_altered() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]
