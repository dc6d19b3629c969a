"""What it takes to move a million payments: `remit migrate-data`, killed once and started again.

Source and target are databases of one server, so reading and writing share its two cores.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.database import postgres
from benchmarks.figures import CannotMeasure, report, say
from benchmarks.memory import mebibytes
from benchmarks.options import Options
from benchmarks.past_payments import fill
from benchmarks.remit_service import remit_up

BELOW_SECONDS, BELOW_MIB = 600.0, 200.0
KILLED_AFTER_LINES = 8
SAMPLE_SECONDS = 0.1


def measure(options: Options, folder: Path) -> None:
    data = folder / "moving"
    with remit_up(data):
        say("  made the folder that is filled")
    fill(data, options.growth_payments)
    with postgres(data) as server:
        url = server.start()
        target = url.replace("/postgres?", "/target?")
        # The worker was stopped before it had sent what it said when it started.
        for statement in ("CREATE DATABASE target", "DELETE FROM outbox"):
            psql = [server.programs / "psql", "--quiet", "--command", statement, url]
            subprocess.run(psql, check=True)
        first = _Run(url, target, data, folder / "first.log")
        was_killed = first.kill_after(KILLED_AFTER_LINES)
        second = _Run(url, target, data, folder / "second.log") if was_killed else first
        compared = second.wait()
    different = [one["what"] for one in compared if one["source"] != one["target"]]
    # What the simulated processor remembers is in the laptop's file, which is not copied here.
    if set(different) - {"discrepancies of the target"}:
        raise CannotMeasure(f"the copy differs in {', '.join(different)}")
    detail: dict[str, str | float] = {
        "payments": options.growth_payments,
        "killed": int(was_killed),
    }
    seconds = first.seconds + (second.seconds if was_killed else 0.0)
    report("migrate_data", seconds, "s", below=BELOW_SECONDS, detail=detail)
    report("migrate_data_memory", max(first.mebibytes, second.mebibytes), "MiB", below=BELOW_MIB)


class _Run:
    """One start of the command, its progress in a file."""

    def __init__(self, source: str, target: str, data: Path, log: Path) -> None:
        self._log = log
        self._answer = log.with_suffix(".json")
        self._began = time.monotonic()
        self.seconds = 0.0
        self.mebibytes = 0.0
        with log.open("w") as progress, self._answer.open("w") as answer:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "remit", "migrate-data", "--source", source),
                    *("--trail", str(data / "bucket"), "--json"),
                ],
                stdout=answer,
                stderr=progress,
                env=os.environ
                | {"REMIT_DATABASE_URL": target, "REMIT_DATA_DIR": str(data / "target")},
            )

    def kill_after(self, lines: int) -> bool:
        """SIGKILL once so many pieces are there; whether it came to that: a small copy is quick."""
        while self._is_running():
            if len(self._log.read_text().splitlines()) >= lines:
                self._process.send_signal(signal.SIGKILL)
                self._process.wait()
        was_killed = self._process.returncode == -signal.SIGKILL
        say(f"  {'killed' if was_killed else 'done'} after {self.seconds:.0f} s")
        return was_killed

    def wait(self) -> list[dict[str, str]]:
        while self._is_running():
            pass
        found: list[dict[str, str]] = json.loads(self._answer.read_text() or "[]")
        if not found:
            raise CannotMeasure(self._log.read_text()[-500:])
        return found

    def _is_running(self) -> bool:
        if self._process.poll() is not None:
            self.seconds = self.seconds or time.monotonic() - self._began
            return False
        self.mebibytes = max(self.mebibytes, mebibytes(self._process.pid))
        time.sleep(SAMPLE_SECONDS)
        self.seconds = time.monotonic() - self._began
        return True
