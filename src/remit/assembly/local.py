"""Assembles the service on a laptop: PostgreSQL by its URL, and files for everything else."""

from remit.adapters.files.disk import DiskSpace
from remit.adapters.files.signer import FileSigner
from remit.adapters.files.storage import FileTopic, FolderBucket
from remit.adapters.files.vault import FileVault
from remit.adapters.processors.simulated.processor import SimulatedProcessor
from remit.adapters.processors.simulated.sqlite_store import SqliteSimulatorStore
from remit.assembly.parts import CloudServices, build, no_measures, this_process
from remit.assembly.postgres import make_connections, postgres_adapters, postgres_queue
from remit.oversight.metrics import NullMetrics
from remit.ports.app import App
from remit.settings import Settings


def assemble_locally(settings: Settings) -> App:
    """The service on the database at `database_url`, with its files in `data_dir`."""
    files = _files(settings)
    process = this_process(settings)
    connections = make_connections(process)
    simulator = SqliteSimulatorStore(settings.data_dir / "processor.sqlite")
    database = postgres_adapters(process, connections)

    async def close() -> None:
        simulator.close()
        await database.close()

    return build(
        process,
        database._replace(close=close),
        files,
        postgres_queue(process, connections.delivery),
        SimulatedProcessor(simulator, settings),
    )


def _files(settings: Settings) -> CloudServices:
    data = settings.data_dir
    (data / "topics").mkdir(parents=True, exist_ok=True)
    return CloudServices(
        notifications=FileTopic(data / "topics" / "notifications.jsonl"),
        alerts=FileTopic(data / "topics" / "alerts.jsonl"),
        bucket=FolderBucket(data / "bucket"),
        signer=FileSigner(data / "audit.key"),
        vault=FileVault(data / "vault.key"),
        measures=no_measures,
        metrics=NullMetrics(),
        disk=DiskSpace(data),
    )
