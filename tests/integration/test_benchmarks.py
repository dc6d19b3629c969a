"""`make bench` on a fresh copy of the repository: each figure comes out once, as one JSON line."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.service import clean_environ
from tests.tidy.tree import ROOT, files, name, text

DOCUMENT = text(ROOT / "docs" / "benchmarks.md")
COMMAND = re.compile(r"^(?:make bench|\.venv/bin/python -m benchmarks).*?(?=\s*#|$)", re.MULTILINE)
LINE = re.compile(r"^\{.*\}$", re.MULTILINE)
ZIP_SIZE = re.compile(r"^\| size of the zip \| ([0-9.]+) MB \|$", re.MULTILINE)

STEPS = ("validate", "process", "payment")
FUNCTIONS = ("payment-validation", "payment-processing", "payment-delivery", "health-monitor")
PLAIN_FASTAPI = ("plain_fastapi_1_worker", "plain_fastapi_2_workers")
NEEDS_WRK = {
    "payments_per_second": "payments/s",
    "plain_fastapi_1_worker_per_second": "payments/s",
    "plain_fastapi_2_workers_per_second": "payments/s",
    "localstripe_per_second": "payments/s",
    "payments_per_second_to_pgbench_three_commits": "times",
    "payments_per_second_to_pgbench_two_commits": "times",
    "payments_per_second_to_plain_fastapi_1_worker": "times",
    "payments_per_second_to_plain_fastapi_2_workers": "times",
    "payments_per_second_to_localstripe": "times",
    "memory_under_load": "MiB",
    "memory_highest": "MiB",
    "payments_per_second_none_stored": "payments/s",
    "payments_per_second_many_stored": "payments/s",
    "growth": "times",
}
NEEDS_NO_TOOL = {
    "machine_cores": "cores",
    "machine_disk_flushes": "fdatasync/s",
    "first_response_fresh": "s",
    "first_payment_fresh": "s",
    "first_response_restart": "s",
    "first_payment_restart": "s",
    "pgbench_three_commits_per_second": "payments/s",
    "pgbench_two_commits_per_second": "payments/s",
    "latency_rate": "payments/s",
    **{f"latency_{step}_{p}": "ms" for step in STEPS for p in ("p50", "p95", "p99")},
    "latency_generator_lag_p99": "ms",
    "migrate_data": "s",
    "migrate_data_memory": "MiB",
    "function_zip": "MB",
    "import_baseline": "ms",
    "import_above_baseline": "ms",
    "warm_handler": "ms",
    **{f"import_{function}": "ms" for function in FUNCTIONS},
    **{f"first_response_{function}": "ms" for function in FUNCTIONS},
    **{f"warm_response_{function}": "ms" for function in FUNCTIONS},
}
"""By figure, its unit."""

WRK_IS_MISSING = "wrk is not installed: `apt install wrk`, or `brew install wrk`."

pytestmark = [pytest.mark.xdist_group("benchmarks"), pytest.mark.timeout(600)]


class Ended(NamedTuple):
    status: int
    figures: list[dict[str, Any]]
    progress: list[str]


def run(command: str, folder: Path, **environ: str) -> Ended:
    """Runs a line of a shell in `folder`: its exit status, the figures and the progress."""
    with (folder / "out.txt").open("w+") as out, (folder / "err.txt").open("w+") as err:
        ended = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=folder,
            env=clean_environ() | environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            check=False,
        )
        out.seek(0)
        err.seek(0)
        figures = [json.loads(line) for line in out if line.startswith("{")]
        return Ended(ended.returncode, figures, err.read().splitlines())


def quick(command: str) -> str:
    """The command as the document has it, with a second for each measurement."""
    if command.startswith("make"):
        return command if "QUICK=1" in command else f"{command} QUICK=1"
    return command if "--quick" in command else f"{command} --quick"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository's files in which `make bench` has its environment, and no other."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in files():
        copy = folder / name(path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    made = run("make .venv/.bench", folder, PYTHON=sys.executable)
    assert (made.status, made.progress) == (0, [])
    return folder


@pytest.fixture(scope="module")
def everything(checkout: Path) -> Ended:
    return run("make bench QUICK=1", checkout)


@pytest.mark.slow
def test_every_figure_is_measured_in_the_environment_of_make_bench(everything: Ended) -> None:
    has_wrk = shutil.which("wrk") is not None
    expected = NEEDS_NO_TOOL | (NEEDS_WRK if has_wrk else {})
    measured = [(line["figure"], line["unit"]) for line in everything.figures]
    assert sorted(measured) == sorted(expected.items())
    # The one difference of two times can come out at any number in so short a run.
    times = [line for line in everything.figures if line["figure"] != "import_above_baseline"]
    assert [line for line in times if line["value"] <= 0] == []
    missing = [line for line in everything.progress if line.startswith("not measured")]
    throughput = "payments_per_second, plain_fastapi_1_worker_per_second, " + (
        "plain_fastapi_2_workers_per_second, localstripe_per_second"
    )
    without_wrk = [f"not measured: {throughput}, memory, growth: {WRK_IS_MISSING}"]
    assert missing == ([] if has_wrk else without_wrk)
    # make's own status is 2 if the benchmarks end with 3, which says that a figure is missing.
    assert everything.status == (0 if has_wrk else 2)


@pytest.mark.slow
def test_the_document_states_the_size_of_the_zip(everything: Ended) -> None:
    [measured] = [line["value"] for line in everything.figures if line["figure"] == "function_zip"]
    [stated] = ZIP_SIZE.findall(DOCUMENT)
    assert float(stated) == pytest.approx(measured, rel=0.05)


@pytest.mark.slow
def test_the_lines_in_the_document_have_the_members_of_real_ones(everything: Ended) -> None:
    measured = {line["figure"]: list(line) for line in everything.figures}
    stated = {line["figure"]: list(line) for line in map(json.loads, LINE.findall(DOCUMENT))}
    has_wrk = shutil.which("wrk") is not None
    expected = {figure for figure in stated if has_wrk or figure in NEEDS_NO_TOOL}
    assert {figure: measured.get(figure) for figure in expected} == {
        figure: stated[figure] for figure in expected
    }
    assert "latency_process_p99" in expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", sorted({quick(one) for one in COMMAND.findall(DOCUMENT)} - {"make bench QUICK=1"})
)
def test_the_other_commands_of_the_document_run(checkout: Path, command: str) -> None:
    ended = run(command, checkout)
    assert ended.status == 0
    assert len(ended.figures) > len(["machine_cores", "machine_disk_flushes"])


def test_the_document_names_make_bench_and_its_quick_form() -> None:
    assert COMMAND.findall(DOCUMENT)[:2] == ["make bench", "make bench QUICK=1"]


def test_without_wrk_a_sentence_says_what_is_left_out(tmp_path: Path) -> None:
    empty = tmp_path / "no-programs"
    empty.mkdir()
    command = f"cd {ROOT} && {sys.executable} -m benchmarks --quick --only memory,growth"
    ended = run(command, tmp_path, PATH=str(empty))
    assert ended.status == 3
    assert [line["figure"] for line in ended.figures] == ["machine_cores", "machine_disk_flushes"]
    assert (ended.progress[0], ended.progress[-1]) == (
        f"{WRK_IS_MISSING} Figures that need its load are left out.",
        f"not measured: memory, growth: {WRK_IS_MISSING}",
    )


def test_a_part_that_does_not_exist_is_named(tmp_path: Path) -> None:
    ended = run(f"cd {ROOT} && {sys.executable} -m benchmarks --only speed", tmp_path)
    assert (ended.status, ended.figures) == (2, [])
    assert ended.progress[-1] == (
        "python -m benchmarks: error: argument --only: 'speed' is none of startup, throughput, "
        "latency, memory, migration, growth, functions"
    )
