"""Assembles the service: with `app_postgres.py` and `app_aws.py`, the only modules that know which
adapter fills which port. Only what is used is imported.
"""

from dataclasses import replace

from remit.assembly.postgres import CloudServices, on_postgres
from remit.domain.health_state import Check
from remit.oversight.metrics import NullMetrics
from remit.ports.app import App
from remit.settings import Settings, SettingsError


def assemble(settings: Settings) -> App:
    """The service over what the settings name. Nothing is opened."""
    if settings.idle_after_seconds is not None and settings.work_queue_url is None:
        raise SettingsError("REMIT_IDLE_AFTER_SECONDS: a queue in the database knows no rest.")
    app = _over_its_store(settings)
    if settings.cache_endpoint is None:
        return app
    from remit.assembly.aws import with_redis

    return with_redis(app)


def _over_its_store(settings: Settings) -> App:
    if settings.is_in_aws:
        # A laptop has nothing of it installed.
        from remit.assembly.aws import assemble_in_aws

        return assemble_in_aws(settings)
    if settings.database_url is not None:
        return _on_laptop(settings, settings.database_url)
    raise SettingsError("REMIT_DATABASE_URL is not set; `remit up` starts a database itself.")


def _on_laptop(settings: Settings, url: str) -> App:
    """PostgreSQL by its URL, a connection for each thing to do, and files for everything else."""
    from remit.adapters.postgres.connection import Connection, UrlLogin
    from remit.adapters.processors.simulated.sqlite_store import SqliteSimulatorStore

    login = UrlLogin(url)
    writing, reading, delivery = (Connection(login, by_index=True) for _ in range(3))
    around = _in_files(settings)
    memory = SqliteSimulatorStore(settings.data_dir / "processor.sqlite")
    app = on_postgres(settings, around, memory, login, writing, reading, delivery)

    async def close() -> None:
        memory.close()
        await app.close()

    return replace(app, close=close)


def _in_files(settings: Settings) -> CloudServices:
    """Files in the data folder."""
    from remit.adapters.files.storage import FileTopic, FolderBucket
    from remit.adapters.files.vault import FileVault

    data = settings.data_dir
    (data / "topics").mkdir(parents=True, exist_ok=True)
    return CloudServices(
        notifications=FileTopic(data / "topics" / "notifications.jsonl"),
        alerts=FileTopic(data / "topics" / "alerts.jsonl"),
        bucket=FolderBucket(data / "bucket"),
        vault=FileVault(data / "vault.key"),
        measures=nothing_measured,
        metrics=NullMetrics(),
    )


async def nothing_measured() -> dict[str, Check]:
    """On a laptop nobody counts what is not a dependency."""
    return {}
