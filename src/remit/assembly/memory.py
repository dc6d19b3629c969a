"""Assembles the service in the memory of one process, for tests, with their clock and processor."""

from remit.adapters.memory.queue import MemoryQueue
from remit.adapters.memory.services import (
    MemoryBucket,
    MemoryHealthStates,
    MemoryPublisher,
    MemorySigner,
)
from remit.adapters.memory.store import MemoryStore
from remit.assembly.parts import (
    CloudServices,
    DatabaseAdapters,
    Process,
    build,
    close_nothing,
    no_disk,
    no_measures,
)
from remit.oversight.metrics import NullMetrics
from remit.ports.app import App
from remit.ports.processor import Processor
from remit.ports.vault import Vault


def assemble_in_memory(process: Process, processor: Processor, vault: Vault) -> App:
    """The service on a store, a queue, topics and a bucket in memory."""
    settings = process.settings
    store = MemoryStore(on_commit=process.on_commit)
    queue = MemoryQueue(settings.work_max_receives, process.clock, settings.work_visibility_seconds)
    database = DatabaseAdapters(
        store=store,
        books=store,
        api_keys=store,
        outbox=store,
        health_states=MemoryHealthStates(),
        close=close_nothing,
    )
    services = CloudServices(
        notifications=MemoryPublisher(),
        alerts=MemoryPublisher(),
        bucket=MemoryBucket(),
        signer=MemorySigner(),
        vault=vault,
        measures=no_measures,
        metrics=NullMetrics(),
        disk=no_disk,
    )
    return build(process, database, services, queue, processor)
