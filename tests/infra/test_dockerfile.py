"""The image, as far as it can be proven without Docker: what its file promises, what Docker is
sent, and what its commands make, which are run here in a folder instead of a container.
"""

import json
import os
import platform
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from tempfile import mkdtemp

import pytest

from remit_infra.build import container_image
from tests.infra.dockerfile import broken_promises, perform, sent, stages
from tests.tidy.tree import ROOT, files, name

SOURCE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORING = (ROOT / ".dockerignore").read_text(encoding="utf-8")
HERE = "arm64" if platform.machine() in ("aarch64", "arm64") else "amd64"
BY_DIGEST = "python:3.13-slim@sha256:" + "0" * 64
BOUND_BY_MODES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
"""Root, too, may then write only where a file's mode lets it."""

ONLY_ELSEWHERE = (
    "remit.adapters.postgres.embedded_server",
    "remit.entrypoints.cli.local",
    "remit.entrypoints.cli.migrate_data",
)
"""What only a laptop imports: each needs the PostgreSQL that is embedded there."""

ONLY_IN_FUNCTIONS = "remit.entrypoints.lambdas"


def test_the_dockerfile_keeps_its_promises() -> None:
    assert list(broken_promises(SOURCE)) == []


BASE = "${PYTHON_IMAGE:?names-the-base-by-its-digest:use-remit-image}"
CHECK = 'CMD ["python", "-m", "remit.entrypoints.healthcheck"]'


@pytest.mark.parametrize(
    ("promise", "old", "new"),
    [
        ("Docker reads the directive", "# check=", "# Remit\n# check="),
        ("a base is an argument or an earlier stage", f"\nFROM {BASE}\n", "\nFROM python:3.13\n"),
        ("a base is an argument or an earlier stage", f"{BASE} AS", "python:3.13-slim AS"),
        ("no base floats", "ARG PYTHON_IMAGE\nARG B", "ARG PYTHON_IMAGE=python:3.13\nARG B"),
        ("a base without a digest is refused", "*@sha256:*) ;;", "*) ;;"),
        ("nobody is root", "USER 10001:10001\n", ""),
        ("nobody is root", "USER 10001:10001", "USER root"),
        ("nobody is root", "USER 10001:10001", "USER remit"),
        ("nobody becomes another", "EXPOSE 8000", "USER 0:0\nEXPOSE 8000"),
        ("the service says whether it lives", f"    {CHECK}", "    CMD true"),
        ("signals reach Python", '["python", "-m", "remit"]', "python -m remit"),
        ("signals reach Python", 'CMD ["serve"]', "CMD serve"),
        ("the command is one word", 'ENTRYPOINT ["python", "-m", "remit"]\n', ""),
        ("every package is known by its hash", " --require-hashes -r image.lock", " -r image.lock"),
        ("every package is known by its hash", " --require-hashes -r docs.lock", " -r docs.lock"),
        ("every package is known by its hash", "--require-hashes --only", "--only"),
        ("nothing is compiled", "--no-build ", ""),
        ("nothing but packages comes from the network", "COPY src", "ADD https://x.test/a src"),
        ("nothing but packages comes from the network", "RUN mkdir", "RUN apt-get update; mkdir"),
        ("the last stage is copied alone", "USER 10001", "RUN true\nUSER 10001"),
        ("the last stage is copied alone", "COPY --from=build /build/lib lib", "COPY src lib"),
        ("files are named", "COPY src/remit lib/remit", "COPY . lib/remit"),
        ("no secret is in it", "ARG TARGETARCH", "ARG TARGETARCH\nARG API_TOKEN"),
        ("nothing is written at run time", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUTF8=1"),
        ("bytecode is there from the start", "unchecked-hash", "timestamp"),
        ("the image says what it is", 'image.revision="$REVISION"', 'image.revision="1"'),
    ],
)
def test_a_promise_that_is_broken_is_caught(promise: str, old: str, new: str) -> None:
    assert SOURCE.count(old) >= 1
    assert promise in list(broken_promises(SOURCE.replace(old, new, 1)))


@pytest.mark.slow
def test_the_scanner_finds_nothing() -> None:
    scanner = ROOT / ".venv/scan/bin/checkov"
    ran = subprocess.run(
        [
            *(str(scanner), "-f", "Dockerfile", "--framework", "dockerfile"),
            *("--skip-download", "--compact", "-o", "json"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(ran.stdout)
    assert (result["results"]["failed_checks"], result["summary"]["skipped"]) == ([], 0)
    assert result["summary"]["passed"] > 0


def test_docker_is_sent_what_the_image_is_made_of_and_nothing_else(checkout: Path) -> None:
    ours = [name(path) for path in files()]
    never = [
        *(".git/config", ".env", ".venv/bin/python", ".remit/vault.key", "dist/function.zip"),
        *("src/remit/.env", "src/remit/adapters/key.pem", "src/remit/__pycache__/app.pyc"),
        *(
            "src/remit_infra/commands/main.py",
            "tests/infra/test_dockerfile.py",
            "requirements/dev.lock",
        ),
    ]
    made_of = {
        path.relative_to(checkout).as_posix() for path in container_image.image_files(checkout)
    }
    # Docker is always sent these two.
    made_of -= {"Dockerfile", ".dockerignore"}
    assert sent([*ours, *never, "dist/rds-ca.pem"], IGNORING) == made_of
    everything = {one for one in ours if one.startswith("src/remit/")}
    assert everything <= made_of
    assert sent(never, IGNORING.replace("\n*\n", "\n")) == set(never)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["aarch64", "x86_64"])
def test_there_is_a_wheel_for_each_processor(architecture: str, tmp_path: Path) -> None:
    """For the image's Python, where the rest of this file runs its commands with this one."""
    found = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("uv")), "pip", "install", "--dry-run"),
            *("--python-version", "3.13", "--python-platform", f"{architecture}-manylinux_2_28"),
            *("--target", str(tmp_path), "--no-build", "--require-hashes"),
            *("-r", "requirements/image.lock"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    packages = {
        line.split()[1].split("==")[0] for line in found.stderr.splitlines() if "==" in line
    }
    assert packages >= {"asyncpg", "boto3", "granian", "redis", "opentelemetry-sdk", "uvloop"}
    assert packages.isdisjoint({"uv", "uv-build", "pip", "pytest", "pulumi", "aws-cdk-lib"})


@pytest.fixture(scope="module")
def container() -> Iterator[Path]:
    """What the image would hold in /app, made by the commands of the Dockerfile itself."""
    folder = Path(mkdtemp(prefix="remit-image-"))
    try:
        folder.chmod(0o755)
        context, build, app = (folder / one for one in ("context", "build", "app"))
        for one in sorted(sent([name(path) for path in files()], IGNORING)):
            (context / one).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / one, context / one)
        (context / "dist").mkdir()
        (context / "dist/rds-ca.pem").write_text("certificates")
        subprocess.run([sys.executable, "-m", "venv", str(folder / "python")], check=True)
        build.mkdir()
        first, last = stages(SOURCE)
        path = f"{folder / 'python/bin'}:{os.environ['PATH']}"
        given = {"PYTHON_IMAGE": BY_DIGEST, "TARGETARCH": HERE, "VERSION": "1.2.3"}
        here = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "UV_"))}
        outside = {"PATH": path, "HOME": str(folder), "UV_SYSTEM_CERTS": "1"}
        perform(first, context, build, here | outside | given)
        app.mkdir()
        for text in last.of("COPY"):
            _, source, target = text.split()
            (build / Path(source).name).rename(
                app / target / (Path(source).name * (target == "./"))
            )
        for inside in sorted(app.rglob("*")):
            inside.chmod(stat.S_IMODE(inside.stat().st_mode) & ~0o222)
        app.chmod(0o555)
        yield folder
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(folder)], check=True)
        shutil.rmtree(folder)


def command(container: Path, *, entry: bool = True) -> tuple[list[str], dict[str, str]]:
    """How the container's command begins, and its environment, from the Dockerfile."""
    last = stages(SOURCE)[-1]
    words = json.loads(last.of("ENTRYPOINT")[0]) if entry else ["python"]
    variables = {
        key: value.replace("/app", str(container / "app"))
        for key, value in last.variables().items()
    }
    python = str(container / "python/bin/python")
    return [*BOUND_BY_MODES, python, *words[1:]], {
        "PATH": os.environ["PATH"],
        "COLUMNS": "200",
    } | variables


def run(container: Path, *arguments: str, entry: bool = True) -> subprocess.CompletedProcess[str]:
    words, environment = command(container, entry=entry)
    return subprocess.run(
        [*words, *arguments],
        cwd=container / "app",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.xdist_group("image")
@pytest.mark.parametrize("arguments", [("--help",), ("settings",), ("serve", "--help")])
def test_a_command_is_one_word_and_writes_nothing(
    container: Path, arguments: tuple[str, ...]
) -> None:
    before = sorted((container / "app").rglob("*"))
    ran = run(container, *arguments)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ("serve" if "help" in arguments[-1] else "REMIT_HOST") in ran.stdout
    assert sorted((container / "app").rglob("*")) == before


@pytest.mark.slow
@pytest.mark.xdist_group("image")
def test_the_image_knows_its_version(container: Path) -> None:
    assert run(container, "--version").stdout == "1.2.3\n"


@pytest.mark.slow
@pytest.mark.xdist_group("image")
def test_every_module_a_container_needs_is_imported_without_writing(container: Path) -> None:
    code = (
        "import importlib, os, pkgutil, sys, remit\n"
        f"elsewhere = {(*ONLY_ELSEWHERE, ONLY_IN_FUNCTIONS)!r}\n"
        "for one in pkgutil.walk_packages(remit.__path__, 'remit.', onerror=lambda _: None):\n"
        "    if not one.name.startswith(elsewhere) and one.name != 'remit.__main__':\n"
        "        importlib.import_module(one.name)\n"
        "print('remit_infra' in sys.modules, sys.flags.dont_write_bytecode)\n"
        "print(len([one for one in sys.modules if one.startswith('remit.')]) > 50)\n"
        "print(os.access(os.path.dirname(remit.__file__), os.W_OK), os.access('.', os.W_OK))\n"
        "print(importlib.util.cache_from_source(remit.__file__))\n"
    )
    ran = run(container, "-c", code, entry=False)
    assert ran.stderr == ""
    *said, cached = ran.stdout.splitlines()
    assert said == ["False 1", "True", "False False"]
    assert Path(cached).is_file()


@pytest.mark.slow
@pytest.mark.xdist_group("image")
def test_the_documentation_page_has_its_script(container: Path) -> None:
    code = (
        "from pathlib import Path; from remit.http.docs_page import script\n"
        "installed = script()\n"
        "print(installed.name, Path(installed.file).stat().st_size > 10**6)\n"
    )
    ran = run(container, "-c", code, entry=False)
    version = metadata.version("flask-openapi-scalar")
    assert (ran.stdout, ran.stderr) == (f"scalar-{version}.js True\n", "")
    # Of its package the script alone is used, so what the package depends on is left out.
    assert not (container / "app/lib/flask").exists()


@pytest.mark.slow
@pytest.mark.xdist_group("image")
def test_only_the_service_is_in_it(container: Path) -> None:
    lib = container / "app/lib"
    inside = {path.name for path in lib.iterdir()}
    assert inside.isdisjoint({"remit_infra", "tests", "pip", "uv", "bin", "uv_build"})
    assert "remit" in inside
    others = [path for path in (container / "app").iterdir() if path != lib]
    assert [path.name for path in others] == ["rds-ca.pem"]
    modes = [path.stat().st_mode for path in (container / "app").rglob("*")]
    assert [mode for mode in modes if not mode & stat.S_IROTH or mode & stat.S_IWOTH] == []


@pytest.mark.slow
@pytest.mark.xdist_group("image")
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which signals are caught")
@pytest.mark.parametrize("task", ["serve", "work"])
def test_a_task_that_is_stopped_ends_by_itself(container: Path, task: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words, environment = command(container)
    with subprocess.Popen(
        [*words, task],
        cwd=container / "app",
        env=environment | AS_A_TASK | {"REMIT_PORT": str(port)},
        stderr=subprocess.DEVNULL,
    ) as running:
        deadline = time.monotonic() + 30
        while not catches(running.pid, signal.SIGTERM):
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=30) == 0


def catches(process: int, number: signal.Signals) -> bool:
    """Whether a process handles a signal; as a container's first, it would else ignore it."""
    status = Path(f"/proc/{process}/status").read_text()
    [caught] = re.findall(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return bool(int(caught, 16) >> (number - 1) & 1)


LOGIN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:none"
AS_A_TASK = {
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "REMIT_DATABASE_SECRET_ARN": LOGIN,
    "REMIT_DATABASE_ENDPOINT": "database.test:5432",
    "REMIT_NOTIFICATION_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:none",
    "REMIT_ALARM_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:none",
    "REMIT_AUDIT_BUCKET": "none",
    "REMIT_AUDIT_KEY_ID": "none",
    "REMIT_CARD_KEY_ID": "none",
    "REMIT_FINGERPRINT_KEY_ID": "none",
}


@pytest.mark.slow
def test_a_base_without_its_digest_and_an_unknown_processor_are_refused(tmp_path: Path) -> None:
    first = stages(SOURCE)[0]
    refusing = [text for text in first.of("RUN") if text.startswith("case")]
    assert len(refusing) == 2
    for text, given, said in (
        (refusing[0], {"PYTHON_IMAGE": "python:3.13-slim"}, "must end in @sha256:"),
        (refusing[1], {"TARGETARCH": "riscv64"}, "no wheels for 'riscv64'"),
    ):
        ran = subprocess.run(
            ["/bin/sh", "-c", text],
            env=given,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, said in ran.stderr) == (1, True)
