"""The migration of a million payments: `remit migrate-data`, killed once and started again.

Source and target are databases of one server, so reading and writing share its two cores.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.database import postgres, url_of
from benchmarks.figures import CannotMeasure, Figure, below, report, say
from benchmarks.memory import mebibytes
from benchmarks.options import Options
from benchmarks.past_payments import folder_of_past_payments

BELOW_SECONDS, BELOW_MIB = 600.0, 200.0
KILLED_AFTER_LINES = 8
KILLED_FROM_PAYMENTS = 100_000
"""A smaller copy may end before it can be killed, and a finished one cannot be started again."""

SAMPLE_SECONDS = 0.1


def measure(options: Options, folder: Path) -> None:
    data = folder_of_past_payments(folder, options.stored_payments)
    with postgres(data) as (server, url):

        def execute(statement: str) -> None:
            psql = server.programs / "psql"
            subprocess.run([psql, "--quiet", "--command", statement, url], check=True)

        execute("CREATE DATABASE target")
        # The example payment of `remit up` left messages: its worker was stopped before the relay.
        execute("DELETE FROM outbox")
        target = url_of(url, "target")
        is_killed = options.stored_payments >= KILLED_FROM_PAYMENTS
        try:
            first = _Run(url, target, data, folder / "first.log")
            if is_killed:
                first.kill_after(KILLED_AFTER_LINES)
            second = _Run(url, target, data, folder / "second.log") if is_killed else first
            compared = second.result()
        finally:
            # Growth is measured on the same server.
            execute("DROP DATABASE target WITH (FORCE)")
    different = {one["what"] for one in compared if one["source"] != one["target"]}
    # The simulated processor's store is a file of the laptop, which is not copied here.
    if different - {"discrepancies of the target"}:
        raise CannotMeasure(f"the copy differs in {', '.join(sorted(different))}")
    detail: dict[str, str | float] = {
        "payments": options.stored_payments,
        "killed": int(is_killed),
    }
    seconds = first.seconds + (second.seconds if is_killed else 0.0)
    highest = max(first.mebibytes, second.mebibytes)
    report(Figure("migrate_data", seconds, "s", detail=detail), below(BELOW_SECONDS))
    report(Figure("migrate_data_memory", highest, "MiB"), below(BELOW_MIB))


class _Run:
    """One start of the command, with its progress in a file."""

    def __init__(self, source: str, target: str, data: Path, log: Path) -> None:
        self._log = log
        self._output = log.with_suffix(".json")
        self._began = time.monotonic()
        self.seconds = 0.0
        self.mebibytes = 0.0
        with log.open("w") as progress, self._output.open("w") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "remit", "migrate-data", "--source", source),
                    *("--trail", str(data / "bucket"), "--json"),
                ],
                stdout=output,
                stderr=progress,
                env=os.environ
                | {"REMIT_DATABASE_URL": target, "REMIT_DATA_DIR": str(data / "target")},
            )

    def kill_after(self, lines: int) -> None:
        """Kills the command once it has printed so many lines of progress.

        Raises CannotMeasure if it ended before.
        """
        while self._is_running():
            if len(self._log.read_text().splitlines()) >= lines:
                self._process.send_signal(signal.SIGKILL)
                self._process.wait()
        if self._process.returncode != -signal.SIGKILL:
            raise CannotMeasure(f"it ended before it was killed: {self._log.read_text()[-500:]}")
        say(f"  killed after {self.seconds:.0f} s")

    def result(self) -> list[dict[str, str]]:
        """The comparison that the command printed. Raises CannotMeasure if it printed none."""
        while self._is_running():
            pass
        found: list[dict[str, str]] = json.loads(self._output.read_text() or "[]")
        if not found:
            raise CannotMeasure(self._log.read_text()[-500:])
        return found

    def _is_running(self) -> bool:
        """Samples the memory, and waits a moment if the command has not ended."""
        if self._process.poll() is not None:
            self.seconds = self.seconds or time.monotonic() - self._began
            return False
        self.mebibytes = max(self.mebibytes, mebibytes(self._process.pid))
        time.sleep(SAMPLE_SECONDS)
        self.seconds = time.monotonic() - self._began
        return True
