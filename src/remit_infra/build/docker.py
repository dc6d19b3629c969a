"""Docker's command line. Its output goes to standard error, passwords to its standard input only.

`container_image.py` says what is built and where it is pushed.
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
    """Docker is missing, does not answer, or failed. The message says which."""


class Docker:
    """The Docker on PATH. Raises DockerError, the constructor included."""

    def __init__(self) -> None:
        command = shutil.which("docker")
        if command is None:
            raise DockerError(INSTALL)
        self._command = command
        version = self._capture("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}")
        if version.returncode != 0:
            raise DockerError(START + _last_line(version.stderr))
        self._host_platform = version.stdout.strip()
        self._has_buildx = self._capture("buildx", "version").returncode == 0

    def build(
        self, name: str, *, platform: str, arguments: Mapping[str, str], folder: Path = Path()
    ) -> None:
        """Builds the folder's Dockerfile for a platform, as an image of this name."""
        build_arguments = dict(arguments)
        if self._has_buildx:
            # Without attestations, the pushed digest is that of the image itself.
            command = ["buildx", "build", "--load", "--provenance=false", "--sbom=false"]
        else:
            # BuildKit would set these.
            build_arguments |= {
                "BUILDPLATFORM": self._host_platform,
                "TARGETARCH": platform.partition("/")[2],
            }
            command = ["build"]
        options = [f"--build-arg={key}={value}" for key, value in sorted(build_arguments.items())]
        self._run(
            "The image was not built; Docker says why above.",
            *(*command, "--platform", platform, *options, "--tag", name, str(folder)),
        )

    def push(self, name: str) -> None:
        self._run("The image was not pushed; Docker says why above.", "push", name)

    @contextmanager
    def logged_in(self, registry: str, user: str, password: str) -> Iterator[None]:
        """Logs out at the end, because Docker can store the password in a plain file."""
        login = self._capture(
            *("login", "--username", user, "--password-stdin", registry), stdin=password
        )
        if login.returncode != 0:
            raise DockerError(f"{registry} refuses the login: {_last_line(login.stderr)}")
        try:
            yield
        finally:
            self._capture("logout", registry)

    def _capture(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # nosec B603
            [self._command, *arguments], input=stdin, capture_output=True, text=True, check=False
        )

    def _run(self, problem: str, *arguments: str) -> None:
        ended = subprocess.run(  # nosec B603
            [self._command, *arguments], stdin=subprocess.DEVNULL, stdout=STDERR, check=False
        )
        if ended.returncode != 0:
            raise DockerError(problem)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it does not say why"])[-1]
