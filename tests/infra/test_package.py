"""The zip of the functions: the same bytes each time, small, and it runs."""

import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from remit_infra.build.lambda_package import PackageError, build_package
from tests.tidy.tree import ROOT

LOCK = ROOT / "requirements/function.lock"
HERE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
OUR_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    first = build_package(tmp_path / "a" / "function.zip", requirements=LOCK)
    second = build_package(tmp_path / "b.zip", requirements=LOCK)
    assert (first.sha256, first.bytes, first.files) == (second.sha256, second.bytes, second.files)
    other = build_package(tmp_path / "c.zip", architecture="x86_64", requirements=LOCK)
    assert other.sha256 != first.sha256
    assert first.bytes < 15_000_000


@pytest.mark.slow
def test_wheels_are_those_of_the_function_and_nothing_is_there_twice(tmp_path: Path) -> None:
    build_package(tmp_path / "function.zip", requirements=LOCK)
    with zipfile.ZipFile(tmp_path / "function.zip") as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    libraries = [name for name in names if name.endswith(".so")]
    assert libraries
    assert [name for name in libraries if "x86_64" in name] == []
    assert names == sorted(set(names))
    packages = {name.split("/")[0] for name in names}
    assert packages >= {"remit", "msgspec", "cryptography", "structlog", "stdnum", "iso4217"}
    # The runtime brings the SDK; a server, its page and a command line are not needed.
    assert packages.isdisjoint({"boto3", "botocore", "granian", "cyclopts", "rich"})
    assert "flask_openapi_scalar" not in packages
    assert [name for name in names if "__pycache__" in name or name.endswith("RECORD")] == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Lambda's wheels are for Linux")
def test_the_functions_import_with_nothing_but_the_zip(tmp_path: Path) -> None:
    build_package(tmp_path / "f.zip", python=OUR_PYTHON, architecture=HERE, requirements=LOCK)
    with zipfile.ZipFile(tmp_path / "f.zip") as archive:
        archive.extractall(tmp_path / "task")
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path / 'task')!r}]; "
        "from remit.entrypoints.lambdas import validation, processing, delivery, health; "
        "print(validation.handler.__name__, 'boto3' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == ("handle False\n", "")


def test_what_cannot_be_packaged_is_said(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="must be one of arm64, x86_64"):
        build_package(tmp_path / "f.zip", architecture="sparc", requirements=LOCK)
    with pytest.raises(PackageError, match="run this in the repository"):
        build_package(tmp_path / "f.zip", requirements=tmp_path / "no.lock")
    broken = tmp_path / "broken.lock"
    broken.write_text("msgspec==0.0.1 --hash=sha256:" + "0" * 64)
    with pytest.raises(PackageError, match="The packages were not installed"):
        build_package(tmp_path / "f.zip", requirements=broken)
    assert not (tmp_path / "f.zip").exists()
