"""The container image of the service: built once for each content, pushed to a stack's repository.

The tag is a digest of the content, so a tag never moves: the same files, base and processor have
the same tag, any others have another. The zip of the functions is made in `lambda_package.py`.
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
"""Docker's platform by AWS's name of the processor."""

BASE = (
    "docker.io/library/python:3.13-slim-trixie"
    "@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b"
)
"""Python 3.13.15 on Debian 13, for every processor. Newer: `docker buildx imagetools inspect`."""

AUTHORITIES = Path("dist") / DATABASE_CA
"""The certificates of RDS's authorities, which the image contains."""

DATABASE_CA_IN_IMAGE = f"/app/{DATABASE_CA}"

_CONTENT = (
    *("Dockerfile", ".dockerignore"),
    *("requirements/docs.lock", "requirements/image.lock", "requirements/uv.lock"),
)
_SOURCE = Path("src/remit")
_SUFFIXES = frozenset({".py", ".sql"})
_BY_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}", re.ASCII)
_REGISTRY = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?=/|$)", re.ASCII)


Fetch = Callable[[str, Path], object]
"""Writes the certificates of a region's RDS authorities to a file; `global` is all regions."""


class ImageError(DeployError):
    """The image was not built or pushed. The message says why, and what to do."""


class RepositoryImage(msgspec.Struct, frozen=True):
    """An image in a repository. The URI names it by its digest, so it cannot change."""

    uri: str
    tag: str

    @property
    def dual_stack_uri(self) -> str:
        """The URI for tasks in a network without IPv4."""
        return dual_stack(self.uri)


class ImagePlan(msgspec.Struct, frozen=True, kw_only=True):
    """An image that can be built: its base, its processor, and its tag."""

    tag: str
    version: str
    architecture: str
    base: str


def dual_stack(uri: str) -> str:
    """The URI with the registry's host that has IPv6 and IPv4 addresses (Amazon ECR, "Making
    requests to Amazon ECR registries"). Raises ImageError for a registry that is not ECR's.
    """
    match = _REGISTRY.match(uri)
    if match is None:
        raise ImageError(f"{uri} is in no registry of ECR, so it has no dual-stack name.")
    account, region = match.groups()
    return f"{account}.dkr-ecr.{region}.on.aws{uri[match.end() :]}"


def image_files(root: Path = Path()) -> Iterator[Path]:
    """The files of which an image is made, sorted. `.dockerignore` lists the same. Raises
    ImageError.
    """
    required = [root / name for name in (*_CONTENT, AUTHORITIES)]
    missing = next((path for path in required if not path.is_file()), None)
    if missing is not None:
        raise ImageError(f"{missing} is not here: run `remit image` in the repository.")
    source = (path for path in (root / _SOURCE).rglob("*") if path.suffix in _SUFFIXES)
    yield from sorted([*required, *source])


def plan_image(
    fetch: Fetch, architecture: str = ARCHITECTURE, base: str = BASE, root: Path = Path()
) -> ImagePlan:
    """Fetches the certificates and computes the tag. Raises ImageError, and what `fetch` raises."""
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


def build_image(plan: ImagePlan, docker: Docker, repository: str = REPOSITORY) -> str:
    """Builds the image in the current folder and returns its name in Docker. Raises ImageError."""
    name = f"{repository}:{plan.tag}"
    try:
        docker.build(
            name,
            platform=PLATFORMS[plan.architecture],
            arguments={
                "PYTHON_IMAGE": plan.base,
                "REVISION": revision(),
                "VERSION": plan.version,
            },
        )
    except DockerError as error:
        raise ImageError(str(error)) from error
    return name


def has_repository(suffix: str, clients: Clients) -> bool:
    """Whether the stack's repository exists. Raises ConfigurationError, ImageError."""
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
    plan: ImagePlan,
    clients: Clients,
    docker: Callable[[], Docker] = Docker,
    say: Callable[[str], None] = lambda _: None,
) -> RepositoryImage:
    """The image in the stack's repository. It is built and pushed only if its tag is not there, so
    Docker is needed only then. Raises ConfigurationError, ImageError.
    """
    name = Names(suffix)("repository", REPOSITORY)
    try:
        ecr = clients("ecr")
        repository = _repository(ecr, name, suffix)
        if (digest := _digest(ecr, name, plan.tag)) is not None:
            say(f"{name}:{plan.tag} is there already")
        else:
            engine = docker()
            local_name = build_image(plan, engine, repository)
            with engine.logged_in(repository.partition("/")[0], *_login(ecr)):
                engine.push(local_name)
            digest = _digest(ecr, name, plan.tag)
    except DockerError as error:
        raise ImageError(str(error)) from error
    except BotoCoreError as error:
        raise ImageError(f"AWS does not take these credentials: {error}") from error
    except ClientError as error:
        raise ImageError(f"ECR refuses this with these credentials: {error}") from error
    if digest is None:
        raise ImageError(f"{name}:{plan.tag} was pushed, and ECR does not know it.")
    return RepositoryImage(uri=f"{repository}@{digest}", tag=plan.tag)


def revision() -> str:
    """The commit that is checked out, with `-dirty` if files differ; `unknown` without git."""
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
        [repository] = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    except ecr.exceptions.RepositoryNotFoundException as error:
        raise ImageError(
            f"There is no repository {name} in this account and region: "
            f"`remit deploy fargate-aurora --env {suffix}` makes it."
        ) from error
    uri: str = repository["repositoryUri"]
    return uri


def _digest(ecr: Any, name: str, tag: str) -> str | None:
    try:
        [image] = ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": tag}])[
            "imageDetails"
        ]
    except ecr.exceptions.ImageNotFoundException:
        return None
    digest: str = image["imageDigest"]
    return digest


def _login(ecr: Any) -> tuple[str, str]:
    """User and password for the account's registry. ECR makes them valid for twelve hours."""
    [authorization] = ecr.get_authorization_token()["authorizationData"]
    token = base64.b64decode(authorization["authorizationToken"]).decode()
    user, _, password = token.partition(":")
    return user, password
