"""The service as a container image: built once for a content, pushed to a stack's own repository.

A tag says what is in the image, so it never needs to move: the same files, base and processor have
the same tag, and any other has another. How a zip for functions is made is in `package.py`.
"""

import base64
import hashlib
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from remit_infra.build.docker import Docker, DockerError
from remit_infra.build.lambda_package import DATABASE_CA
from remit_infra.model.aws_account import Clients, DeployError
from remit_infra.model.environments import Names

REPOSITORY = "payment-service"
ARCHITECTURE = "arm64"

PLATFORMS = MappingProxyType({"arm64": "linux/arm64", "x86_64": "linux/amd64"})
"""By AWS's name for a processor, Docker's for the platform."""

BASE = (
    "docker.io/library/python:3.13-slim-trixie"
    "@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b"
)
"""Python 3.13.15 on Debian 13, for every processor. Newer: `docker buildx imagetools inspect`."""

AUTHORITIES = Path("dist") / DATABASE_CA
"""Where the certificates of RDS's authorities are before an image is made of them."""

DATABASE_CA_IN_IMAGE = f"/app/{DATABASE_CA}"

_CONTENT = ("Dockerfile", ".dockerignore", "requirements/image.lock", "requirements/uv.lock")
_SOURCE = Path("src/remit")
_SUFFIXES = frozenset({".py", ".sql"})
_BY_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}", re.ASCII)
_REGISTRY = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?=/|$)", re.ASCII)


Fetch = Callable[[str, Path], object]
"""Writes the certificates of a region's authorities, or of all with `global`, to a file."""


class ImageError(DeployError):
    """The image cannot be made or pushed. The message says why, and what to do."""


class RepositoryImage(msgspec.Struct, frozen=True):
    """An image in a repository: named by its digest, which nothing can change, and by its tag."""

    uri: str
    tag: str

    @property
    def dual_stack_uri(self) -> str:
        """As tasks in a network without IPv4 pull it."""
        return dual_stack(self.uri)


class ImagePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What would be built: from which base, for which processor, under which tag."""

    tag: str
    version: str
    architecture: str
    base: str


def dual_stack(uri: str) -> str:
    """The same image under the registry's host that answers over IPv6 and IPv4 (Amazon ECR,
    "Making requests to Amazon ECR registries"). Raises ImageError for another registry's.
    """
    found = _REGISTRY.match(uri)
    if found is None:
        raise ImageError(f"{uri} is in no registry of ECR, so it has no dual-stack name.")
    account, region = found.groups()
    return f"{account}.dkr-ecr.{region}.on.aws{uri[found.end() :]}"


def image_files(root: Path = Path()) -> Iterator[Path]:
    """What an image is made of, sorted; .dockerignore lets the same through. Raises ImageError."""
    needed = [root / name for name in (*_CONTENT, AUTHORITIES)]
    missing = next((path for path in needed if not path.is_file()), None)
    if missing is not None:
        raise ImageError(f"{missing} is not here: run `remit image` in the repository.")
    source = (path for path in (root / _SOURCE).rglob("*") if path.suffix in _SUFFIXES)
    yield from sorted([*needed, *source])


def plan_image(
    fetch: Fetch, architecture: str = ARCHITECTURE, base: str = BASE, root: Path = Path()
) -> ImagePlan:
    """Fetches what the repository does not hold, and says what the files would become. Raises
    ImageError, or what `fetch` raises.
    """
    if architecture not in PLATFORMS:
        raise ImageError(f"The architecture must be one of {', '.join(PLATFORMS)}.")
    if _BY_DIGEST.fullmatch(base) is None:
        raise ImageError(
            f"The base '{base}' must be named by its digest, name@sha256:…; "
            f"`docker buildx imagetools inspect {base.partition('@')[0]}` shows it."
        )
    fetch("global", root / AUTHORITIES)
    digest = hashlib.sha256(f"{base}\0{architecture}\0".encode())
    for path in image_files(root):
        body = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(body)}\0".encode() + body)
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version: str = project["version"]
    tag = f"{version}-{architecture}-{digest.hexdigest()[:16]}"
    return ImagePlan(tag=tag, version=version, architecture=architecture, base=base)


def build_image(planned: ImagePlan, docker: Docker, repository: str = REPOSITORY) -> str:
    """Builds what was planned in this folder, and answers its name in Docker. Raises ImageError."""
    name = f"{repository}:{planned.tag}"
    try:
        docker.build(
            name,
            platform=PLATFORMS[planned.architecture],
            arguments={
                "PYTHON_IMAGE": planned.base,
                "REVISION": revision(),
                "VERSION": planned.version,
            },
        )
    except DockerError as error:
        raise ImageError(str(error)) from error
    return name


def has_repository(suffix: str, clients: Clients) -> bool:
    """Whether the stack's repository is there. Raises ImageError, Refused."""
    name = Names(suffix)("repository", REPOSITORY)
    ecr = clients("ecr")
    try:
        ecr.describe_repositories(repositoryNames=[name])
    except ecr.exceptions.RepositoryNotFoundException:
        return False
    except (BotoCoreError, ClientError) as error:
        raise ImageError(f"ECR refuses this with these credentials: {error}") from error
    return True


def publish_image(
    suffix: str,
    planned: ImagePlan,
    clients: Clients,
    docker: Callable[[], Docker] = Docker,
    said: Callable[[str], None] = lambda _: None,
) -> RepositoryImage:
    """The image in the stack's repository, built and pushed only if its tag is not there yet:
    where it is, Docker is not needed. Raises ImageError, Refused.
    """
    name = Names(suffix)("repository", REPOSITORY)
    try:
        ecr = clients("ecr")
        repository = _repository(ecr, name, suffix)
        if (digest := _digest(ecr, name, planned.tag)) is not None:
            said(f"{name}:{planned.tag} is there already")
        else:
            engine = docker()
            local = build_image(planned, engine, repository)
            with engine.logged_in(repository.partition("/")[0], *_login(ecr)):
                engine.push(local)
            digest = _digest(ecr, name, planned.tag)
    except DockerError as error:
        raise ImageError(str(error)) from error
    except BotoCoreError as error:
        raise ImageError(f"AWS does not take these credentials: {error}") from error
    except ClientError as error:
        raise ImageError(f"ECR refuses this with these credentials: {error}") from error
    if digest is None:
        raise ImageError(f"{name}:{planned.tag} was pushed, and ECR does not know it.")
    return RepositoryImage(uri=f"{repository}@{digest}", tag=planned.tag)


def revision() -> str:
    """The commit that is checked out, with `-dirty` if files differ from it; else `unknown`."""
    try:
        ended = subprocess.run(  # nosec B603 B607
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return "unknown"
    return ended.stdout.strip() or "unknown"


def _repository(ecr: Any, name: str, suffix: str) -> str:
    try:
        [found] = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    except ecr.exceptions.RepositoryNotFoundException as error:
        raise ImageError(
            f"There is no repository {name} in this account and region: "
            f"`remit deploy fargate-aurora --env {suffix}` makes it."
        ) from error
    uri: str = found["repositoryUri"]
    return uri


def _digest(ecr: Any, name: str, tag: str) -> str | None:
    try:
        [found] = ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": tag}])[
            "imageDetails"
        ]
    except ecr.exceptions.ImageNotFoundException:
        return None
    digest: str = found["imageDigest"]
    return digest


def _login(ecr: Any) -> tuple[str, str]:
    """User and password for the account's own registry, for twelve hours (ECR's reference)."""
    [found] = ecr.get_authorization_token()["authorizationData"]
    both = base64.b64decode(found["authorizationToken"]).decode()
    user, _, password = both.partition(":")
    return user, password
