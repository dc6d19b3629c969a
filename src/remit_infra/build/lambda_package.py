"""The zip of the Lambda functions. The same input gives the same bytes on every machine.

Wheels are for the function's Python and processor, not for this machine's. The AWS SDK is left out,
because Lambda's runtime has it.
"""

import hashlib
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import msgspec

import remit
from remit_infra.build.uv import UvError, uv

PYTHON = "3.13"
ARCHITECTURE = "arm64"
REQUIREMENTS = Path("requirements/function.lock")
MAX_ZIP_BYTES = 15 * 10**6
DATABASE_CA = "rds-ca.pem"
"""The file in the zip with the certificates of the database's authorities."""

PLATFORMS = MappingProxyType({"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"})
"""The platform tag of Lambda's runtime, Amazon Linux 2023, by Lambda's name of the processor."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the zip: the oldest that the format has."""

_METADATA_LEFT_OUT = frozenset(
    {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json"}
)


class PackageError(Exception):
    """The zip was not made, or is too large. The message says why."""


class LambdaPackage(msgspec.Struct, frozen=True):
    """A written zip: its size, its number of files, and the SHA-256 of its bytes in hex."""

    path: str
    sha256: str
    bytes: int
    files: int


def build_package(
    target: Path,
    *,
    python: str = PYTHON,
    architecture: str = ARCHITECTURE,
    requirements: Path = REQUIREMENTS,
    database_ca: Path | None = None,
) -> LambdaPackage:
    """Writes the zip. `database_ca` is the file with the certificates of the database's
    authorities.

    Raises PackageError.
    """
    if architecture not in PLATFORMS:
        raise PackageError(f"The architecture must be one of {', '.join(PLATFORMS)}.")
    if not requirements.is_file():
        raise PackageError(f"{requirements} is not here: run this in the repository.")
    with TemporaryDirectory() as folder:
        content = Path(folder)
        _install(content, python, architecture, requirements)
        shutil.copytree(Path(remit.__file__).parent, content / "remit")
        if database_ca is not None:
            shutil.copyfile(database_ca, content / DATABASE_CA)
        files = sorted(_files(content), key=Path.as_posix)
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, content, files)
    body = target.read_bytes()
    if len(body) > MAX_ZIP_BYTES:
        raise PackageError(f"{target} has {len(body)} bytes, and {MAX_ZIP_BYTES} are allowed.")
    return LambdaPackage(str(target), hashlib.sha256(body).hexdigest(), len(body), len(files))


def _install(content: Path, python: str, architecture: str, requirements: Path) -> None:
    try:
        uv(
            *("pip", "install", "--quiet", "--target", str(content)),
            *("--python-version", python, "--python-platform", PLATFORMS[architecture]),
            *("--only-binary", ":all:", "--require-hashes", "--requirements", str(requirements)),
        )
    except UvError as error:
        raise PackageError(str(error)) from error


def _files(content: Path) -> Iterator[Path]:
    for path in content.rglob("*"):
        relative = path.relative_to(content)
        if path.is_file() and not (
            relative.parts[0] == "bin"
            or "__pycache__" in relative.parts
            or (relative.parts[0].endswith(".dist-info") and path.name in _METADATA_LEFT_OUT)
            or path.name in (".lock", ".gitignore", "CACHEDIR.TAG")
        ):
            yield relative


def _write(target: Path, content: Path, files: list[Path]) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.as_posix(), EPOCH)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            body = (content / file).read_bytes()
            archive.writestr(entry, body, zipfile.ZIP_DEFLATED, compresslevel=6)
