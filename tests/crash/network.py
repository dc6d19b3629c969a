"""Breaks the connections of the service, to its callers and to its database, while they take
payments.

    python -m tests.crash.network --faults 10000

A proxy stands before the API, and another before PostgreSQL. Both reset connections, before a
request or after its commit and before the answer, delay, cut answers, close halves, and let nothing
pass for a while. A caller whose connection breaks sends the same request with the same key. In the
end every payment must be there once, and the processor must have charged each once.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from remit.adapters.postgres.embedded_server import EmbeddedPostgres
from tests.crash.crash import CLIENTS, FAST_RECOVERY, Client, Report, check
from tests.crash.proxy import FaultyProxy, Streams
from tests.service import Service

CALLER_RATE = 0.4
DATABASE_RATE = 0.01
LOOK_SECONDS = 0.5


class NetworkReport(Report):
    """What a run came to, with the faults by where and which kind."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: Counter[str] = Counter()


async def break_connections(folder: Path, faults: int, chance: random.Random) -> NetworkReport:
    """Takes payments until so many faults have happened, lets everything settle, and checks."""
    report = NetworkReport()
    postgres = EmbeddedPostgres(folder / "database")
    address = urlsplit(await asyncio.to_thread(postgres.start))
    directory = parse_qs(address.query)["host"][0]

    def to_database() -> Awaitable[Streams]:
        return asyncio.open_unix_connection(f"{directory}/.s.PGSQL.5432")

    database = FaultyProxy(to_database, chance, 0.0)
    url = f"postgresql://{address.username}@127.0.0.1:{await database.start()}/postgres"
    with Service(folder, **FAST_RECOVERY, REMIT_DATABASE_URL=url) as service:
        callers = FaultyProxy(
            partial(asyncio.open_connection, "127.0.0.1", service.port), chance, CALLER_RATE
        )
        port = await callers.start()
        await asyncio.to_thread(service.start)
        database.rate = DATABASE_RATE
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as clients:
            for name in range(2 * CLIENTS):
                clients.create_task(Client(name, service.behind(port), report).run(stop))
            while (done := callers.counts.total() + database.counts.total()) < faults:
                await asyncio.sleep(LOOK_SECONDS)
                if sys.stderr.isatty():
                    said = f"\r{done}/{faults} faults, {len(report.acknowledged)} payments"
                    print(said, end="", file=sys.stderr)
            stop.set()
        database.rate = 0.0
        await asyncio.to_thread(check, service, report)
        service.stop()
        for where, proxy in (("callers", callers), ("database", database)):
            report.faults.update({f"{where} {kind}": n for kind, n in proxy.counts.items()})
            await proxy.stop()
    await asyncio.to_thread(postgres.stop)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=1_000, help="how many faults (1000)")
    parser.add_argument("--seed", type=int, default=None, help="the seed of what is drawn")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        report = asyncio.run(break_connections(folder, chosen.faults, random.Random(chosen.seed)))
    for kind, number in sorted(report.faults.items()):
        print(f"{number:6}  {kind}")
    print(
        f"{report.faults.total()} faults, {len(report.acknowledged)} payments acknowledged, "
        f"{report.repeats} requests repeated, {len(report.wrong)} wrong"
    )
    for line in report.wrong:
        print(line)
    raise SystemExit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
