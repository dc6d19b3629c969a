"""Docker's command line: builds, logs in and pushes. What it says goes to standard error.

Passwords reach it through standard input alone. What is built and where it goes is `image.py`'s.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

INSTALL = (
    "Docker is not on PATH. Install it (https://docs.docker.com/engine/install/: Docker Desktop, "
    "or `apt install docker.io docker-buildx`)."
)
START = "Docker does not answer. Start it (Docker Desktop, or `sudo systemctl start docker`): "
STDERR = 2


class DockerError(Exception):
    """Docker is not there, does not answer, or failed. The message says which."""


class Docker:
    """Docker as it is on PATH now. Raises DockerError, also when it is made."""

    def __init__(self) -> None:
        found = shutil.which("docker")
        if found is None:
            raise DockerError(INSTALL)
        self._path = found
        asked = self._quietly("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}")
        if asked.returncode != 0:
            raise DockerError(START + _last_line(asked.stderr))
        self._own_platform = asked.stdout.strip()
        self._has_buildx = self._quietly("buildx", "version").returncode == 0

    def build(
        self, name: str, *, platform: str, arguments: Mapping[str, str], folder: Path = Path()
    ) -> None:
        """Builds the folder's Dockerfile for a platform, and keeps the image under this name."""
        given = dict(arguments)
        if self._has_buildx:
            # No attestations: the digest that is pushed is then the image's own.
            how = ["buildx", "build", "--load", "--provenance=false", "--sbom=false"]
        else:
            # What BuildKit says by itself.
            given |= {
                "BUILDPLATFORM": self._own_platform,
                "TARGETARCH": platform.partition("/")[2],
            }
            how = ["build"]
        pairs = [f"--build-arg={key}={value}" for key, value in sorted(given.items())]
        self._loudly(
            "The image was not built; Docker says why above.",
            *(*how, "--platform", platform, *pairs, "--tag", name, str(folder)),
        )

    def push(self, name: str) -> None:
        self._loudly("The image was not pushed; Docker says why above.", "push", name)

    @contextmanager
    def logged_in(self, registry: str, user: str, password: str) -> Iterator[None]:
        """Logs in, and out again at the end: Docker may keep a password in a plain file."""
        came_in = self._quietly(
            *("login", "--username", user, "--password-stdin", registry), said=password
        )
        if came_in.returncode != 0:
            raise DockerError(f"{registry} refuses the login: {_last_line(came_in.stderr)}")
        try:
            yield
        finally:
            self._quietly("logout", registry)

    def _quietly(self, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # nosec B603
            [self._path, *arguments], input=said, capture_output=True, text=True, check=False
        )

    def _loudly(self, problem: str, *arguments: str) -> None:
        ended = subprocess.run(  # nosec B603
            [self._path, *arguments], stdin=subprocess.DEVNULL, stdout=STDERR, check=False
        )
        if ended.returncode != 0:
            raise DockerError(problem)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it does not say why"])[-1]
