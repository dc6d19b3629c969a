"""The benchmarks run: every figure comes out as JSON, or standard error says what it lacks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service import clean_environ
from tests.tidy.tree import ROOT

FIGURES = {
    "first_answer_fresh",
    "first_answer_again",
    "pgbench_three_commits_per_second",
    "pgbench_two_commits_per_second",
    "latency_process_p99",
}
NEEDS_A_TOOL = {
    "payments_per_second",
    "plain_fastapi_1_worker_per_second",
    "plain_fastapi_2_workers_per_second",
    "localstripe_per_second",
}


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """The exit status, standard output and standard error of the benchmarks."""
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        ended = subprocess.run(
            [sys.executable, "-m", "benchmarks", *arguments],
            cwd=ROOT,
            env=clean_environ(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            timeout=110,
            check=False,
        )
        out.seek(0)
        err.seek(0)
        return ended.returncode, out.read(), err.read()


@pytest.mark.slow
def test_every_figure_is_measured_or_its_tool_is_named(tmp_path: Path) -> None:
    status, out, err = run(tmp_path, "--quick", "--only", "startup,throughput,latency")
    figures = {line["figure"]: line for line in map(json.loads, out.splitlines())}
    missing = {line.split(": ")[1] for line in err.splitlines() if line.startswith("not measured")}
    assert figures.keys() >= FIGURES
    assert all(line["value"] > 0 and line["unit"] for line in figures.values())
    assert missing | figures.keys() >= NEEDS_A_TOOL
    assert missing <= NEEDS_A_TOOL
    assert status == (3 if missing else 0)


def test_a_part_that_does_not_exist_is_named(tmp_path: Path) -> None:
    status, out, err = run(tmp_path, "--only", "speed")
    assert (status, out) == (2, "")
    assert "'speed' is none of startup, throughput, latency, memory, growth, functions" in err
