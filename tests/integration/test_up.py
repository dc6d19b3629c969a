"""`remit up`, which `make run` runs: started in a folder of its own, used, and stopped."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from remit_infra.emulated.ports import free_port
from tests.service import REMIT, Service, clean_environ, run_command, wait_until
from tests.tidy.tree import ROOT

CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("up")]


def test_make_run_runs_the_command_that_is_tested_here() -> None:
    makefile = (ROOT / "Makefile").read_text()
    target = makefile.split("\nrun:", 1)[1].split("\n\n", 1)[0]
    assert target.splitlines()[1:] == ["\t@$(BIN)/remit up"]


def test_a_payment_is_taken_and_everything_stops(tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        service.start()
        validated = service.call("POST", "/validate", {"amount": "12.34", "card": CARD})
        payment_id = validated.body["transaction_id"]
        processed = service.call("POST", "/process", {"transaction_id": payment_id})
        assert (processed.status, processed.body["status"]) == (200, "processed")

        wait_until(lambda: "Stop: Ctrl-C" in service.output.read_text(), 15, "the example payment")
        assert service.stop() == 0
        assert service.processes() == []
        output = service.output.read_text()
        assert "processed" in output
        assert f"Your test key: {service.key}" in output
        assert f"curl http://127.0.0.1:{service.port}/validate" in output
        assert f"curl http://127.0.0.1:{service.port}/process" in output
        assert "Traceback" not in output
        assert "Warning" not in output


def test_ctrl_c_before_the_example_payment_is_no_failure(tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        service.launch()
        wait_until((service.data / "address").exists, 60, "the service to start")
        # 130 where it is so early that no handler is there yet.
        assert service.stop() in (0, 130)
        output = service.output.read_text()
        assert [line for line in output.splitlines() if line.startswith("remit:")] == []
        assert service.processes() == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_lines_that_are_printed_work(tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        service.start()
        wait_until(lambda: "Stop: Ctrl-C" in service.output.read_text(), 15, "the example payment")
        printed = service.output.read_text()
        lines = printed[printed.index("curl ") : printed.index("Data:")].split("\n\n")
        statuses = []
        for line in filter(None, map(str.strip, lines)):
            command = line.replace("curl ", "curl -s ")
            answer = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
            statuses.append(json.loads(answer.stdout)["status"])
        assert statuses == ["validated", "processed"]


def test_in_a_terminal_each_request_is_a_line(tmp_path: Path) -> None:
    watched, terminal = os.openpty()
    port = free_port()
    running = subprocess.Popen(
        [REMIT, "up"],
        cwd=tmp_path,
        env=clean_environ() | {"PORT": str(port), "TERM": "xterm", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    # A terminal ends its lines with both.
    while b"Stop: Ctrl-C\r\n" not in shown:
        shown += os.read(watched, 65_536)
    running.send_signal(signal.SIGINT)
    with suppress(OSError):
        while more := os.read(watched, 65_536):
            shown += more
    os.close(watched)
    assert running.wait(30) == 0
    requests = re.findall(r"(GET|POST) +(\S+) +status=(\d+) ms=[\d.]+\r", shown.decode())
    assert requests[-2:] == [("POST", "/validate", "200"), ("POST", "/process", "200")]


def test_commands_find_the_service_and_its_data_from_a_folder_below(tmp_path: Path) -> None:
    below = tmp_path / "shop" / "src"
    below.mkdir(parents=True)
    with Service(tmp_path) as service:
        service.start()
        paid = run_command("pay", "5", "--json", folder=below)
        assert (paid.returncode, paid.stderr) == (0, f"acting on the service at {service.url}\n")
        listed = run_command("payments", "list", "--limit", "1", "--json", folder=below)
        assert listed.stderr == f"acting on {service.data} on this machine\n"
        [newest] = json.loads(listed.stdout)
        assert newest["transaction_id"] == json.loads(paid.stdout)["transaction_id"]
        assert service.stop() == 0
        gone = run_command("pay", "5", folder=below)
        assert gone.stderr.splitlines()[1:] == [
            "remit: Nothing answers at http://127.0.0.1:8000. Start it with `remit up`."
        ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk of its own")
def test_a_full_disk_is_named_in_seconds(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        with Service(tmp_path, REMIT_DATA_DIR=str(disk / ".remit")) as service:
            service.launch()
            status, output = service.ended()
            assert (status, output) == (
                1,
                f"remit: The disk of {disk / '.remit'} is full: 8 MB are free, and Remit needs "
                "100 MB to start. Make room, or choose another folder with REMIT_DATA_DIR.\n",
            )
            assert not (disk / ".remit" / "postgres").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_second_start_finds_the_data_and_the_key_again(tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        service.start()
        paid = service.call("POST", "/validate", {"amount": 5, "payment_id": "order-1"})
        key = service.key
        service.stop()
        service.start()
        assert service.key == key
        found = service.call("GET", "/payments?payment_id=order-1")
        assert [p["transaction_id"] for p in found.body["data"]] == [paid.body["transaction_id"]]


def test_a_busy_port_is_named_before_anything_is_started(tmp_path: Path) -> None:
    with Service(tmp_path) as service, socket.socket() as taken:
        # The test's own process has bound it too, so that no other process gets it.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", service.port))
        taken.listen()
        service.launch()
        status, output = service.ended()
        assert status == 1
        assert output.splitlines() == [
            f"remit: Port {service.port} on 127.0.0.1 cannot be used (Address already in use). "
            f"Stop what listens there, or choose another: PORT={service.port + 1}."
        ]
        assert not (service.data / "postgres").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    # A file where the folder should be: unlike a mode, this stops root too.
    (tmp_path / ".remit").write_text("")
    with Service(tmp_path) as service:
        service.launch()
        status, output = service.ended()
        assert status == 1
        assert output.splitlines() == [
            f"remit: Cannot write to {tmp_path / '.remit'}: File exists. "
            "Choose another folder with REMIT_DATA_DIR."
        ]


def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    if os.geteuid() == 0:
        # Modes do not stop root; the kernel's own file system does.
        folder = Path("/sys")
    with Service(tmp_path, REMIT_DATA_DIR=str(folder / ".remit")) as service:
        service.launch()
        status, output = service.ended()
        assert (status, len(output.splitlines())) == (1, 1)
        assert output.startswith(f"remit: Cannot write to {folder / '.remit'}: ")


def test_a_second_start_beside_the_first_is_refused(tmp_path: Path) -> None:
    with Service(tmp_path) as first, Service(tmp_path) as second:
        first.start()
        second.launch()
        status, output = second.ended()
        assert status == 1
        assert f"Another `remit up` is using {first.data}." in output
        assert first.is_healthy()


@pytest.mark.parametrize("postgres_too", [False, True])
def test_the_next_start_takes_over_from_one_that_was_killed(
    tmp_path: Path, postgres_too: bool
) -> None:
    with Service(tmp_path) as service:
        service.start()
        paid = service.call("POST", "/validate", {"amount": "7.00", "card": CARD})
        service.kill()
        if postgres_too:
            service.kill_postgres()
        service.start()
        step = {"transaction_id": paid.body["transaction_id"]}
        assert service.call("POST", "/process", step).body["status"] == "processed"
        assert service.stop() == 0
        assert service.processes() == []


def test_a_worker_that_dies_is_started_again(tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        service.start()
        for pid in _workers(service):
            os.kill(pid, signal.SIGKILL)
        paid = service.call("POST", "/validate", {"amount": "7.00", "card": CARD})
        payment_id = paid.body["transaction_id"]
        notified = service.data / "topics" / "notifications.jsonl"
        wait_until(
            lambda: notified.exists() and payment_id in notified.read_text(),
            30,
            "the new worker's first messages",
        )


def _workers(service: Service) -> list[int]:
    found = []
    for pid in service.processes():
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"work" in words:
                found.append(pid)
    assert found
    return found


async def test_what_is_acknowledged_is_on_the_disk(tmp_path: Path) -> None:
    # A killed process proves no durability: the kernel still has what was never flushed.
    with Service(tmp_path) as service:
        service.start()
        host = (service.data / "postgres" / "postmaster.pid").read_text().splitlines()[4]
        connection = await asyncpg.connect(host=host, user="postgres", database="postgres")
        try:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                assert (setting, await connection.fetchval(f"SHOW {setting}")) == (setting, "on")
        finally:
            await connection.close()
