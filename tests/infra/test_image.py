"""`remit image`: one tag for one content, one push for one tag, and no password anywhere."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from remit_infra.build import container_image
from remit_infra.build.container_image import (
    ImageError,
    ImagePlan,
    RepositoryImage,
    dual_stack,
    plan_image,
    publish_image,
)
from remit_infra.build.docker import INSTALL, Docker, DockerError
from remit_infra.commands import image
from remit_infra.deploy import pulumi_stack
from remit_infra.model.environments import ConfigurationError

REGION = "eu-west-1"
URI = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/payment-service-dev"
DIGEST = "sha256:" + "a1" * 32

FAKE = f"""#!{sys.executable}
import json, os, sys
arguments, said = sys.argv[1:], "" if sys.stdin.isatty() else sys.stdin.read()
with open(os.environ["FAKE_DOCKER_LOG"], "a") as log:
    log.write(json.dumps([arguments, said]) + "\\n")
if arguments[0] == "version":
    print("linux/amd64")
if arguments[0] in os.environ.get("FAKE_DOCKER_FAILS", "").split():
    sys.exit("Cannot do: " + arguments[0])
"""


class Fake:
    """A `docker` on PATH that writes down what it is told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._log = folder / "docker.log"
        self._set = monkeypatch.setenv
        tool = folder / "bin" / "docker"
        tool.parent.mkdir()
        tool.write_text(FAKE)
        tool.chmod(0o755)
        self._set("PATH", f"{tool.parent}:{os.environ['PATH']}")
        self._set("FAKE_DOCKER_LOG", str(self._log))

    def fails(self, *commands: str) -> None:
        self._set("FAKE_DOCKER_FAILS", " ".join(commands))

    def heard(self) -> list[tuple[list[str], str]]:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [(arguments, said) for arguments, said in map(json.loads, lines)]

    def verbs(self) -> list[str]:
        return [arguments[0] for arguments, _ in self.heard()]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(tmp_path, monkeypatch)


@pytest.fixture
def ecr(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An account with the stack's repository in it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        client = boto3.client("ecr", region_name=REGION)
        client.create_repository(
            repositoryName="payment-service-dev", imageTagMutability="IMMUTABLE"
        )
        yield client


@pytest.fixture
def repository(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a command, where RDS's certificates are found without a network."""
    monkeypatch.chdir(checkout)
    monkeypatch.setattr(pulumi_stack, "fetch_authorities", fetched)
    return checkout


def fetched(region: str, target: Path) -> Path:
    assert region == "global"
    target.write_text("certificates")
    return target


def clients(service: str) -> Any:
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]


def into(ecr: Any) -> type[Docker]:
    """A Docker whose pushes reach the mocked registry."""

    class Pushing(Docker):
        def push(self, name: str) -> None:
            super().push(name)
            manifest = {
                "schemaVersion": 2,
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": {"digest": DIGEST},
                "layers": [],
            }
            ecr.put_image(
                repositoryName="payment-service-dev",
                imageTag=name.rpartition(":")[2],
                imageManifest=json.dumps(manifest),
            )

    return Pushing


def plan(root: Path, **more: str) -> ImagePlan:
    return plan_image(fetched, root=root, **more)


def test_the_same_content_has_the_same_tag(checkout: Path, tmp_path: Path) -> None:
    first = plan(checkout)
    assert first.tag.startswith("0.1.0-arm64-")
    (checkout / "src/remit/__pycache__").mkdir(exist_ok=True)
    (checkout / "src/remit/__pycache__/app.cpython-313.pyc").write_bytes(b"other")
    (checkout / "README.md").write_text("other")
    assert plan(checkout) == first
    assert plan(checkout.rename(tmp_path / "elsewhere")) == first


@pytest.mark.parametrize(
    "name",
    [
        "Dockerfile",
        "requirements/docs.lock",
        "requirements/image.lock",
        "src/remit/assembly/service.py",
        "src/remit/adapters/postgres/migrations/0009.sql",
    ],
)
def test_other_content_has_another_tag(name: str, checkout: Path) -> None:
    before = plan(checkout)
    with (checkout / name).open("a") as file:
        file.write("\n# more\n")
    assert plan(checkout).tag != before.tag


def test_another_base_processor_or_certificate_has_another_tag(checkout: Path) -> None:
    def other(region: str, target: Path) -> None:
        target.write_text("an authority more")

    base = "python:3.14-slim@sha256:" + "0" * 64
    tags = {
        plan(checkout).tag,
        plan(checkout, base=base).tag,
        plan(checkout, architecture="x86_64").tag,
        plan_image(other, root=checkout).tag,
    }
    assert len(tags) == 4


def test_a_file_that_moves_is_other_content(checkout: Path) -> None:
    before = plan(checkout)
    (checkout / "src/remit/assembly/service.py").rename(checkout / "src/remit/assembly.py")
    assert plan(checkout).tag != before.tag


def test_an_image_is_built_for_its_platform_from_a_pinned_base(
    checkout: Path, docker: Fake
) -> None:
    made = plan(checkout, architecture="x86_64")
    assert container_image.build_image(made, Docker()) == f"payment-service:{made.tag}"
    arguments, _ = docker.heard()[-1]
    assert arguments[:5] == ["buildx", "build", "--load", "--provenance=false", "--sbom=false"]
    assert arguments[arguments.index("--platform") + 1] == "linux/amd64"
    assert f"--build-arg=PYTHON_IMAGE={container_image.BASE}" in arguments
    assert "--build-arg=VERSION=0.1.0" in arguments
    assert arguments[-2:] == [f"payment-service:{made.tag}", "."]


def test_without_buildx_docker_is_told_what_buildkit_knows(checkout: Path, docker: Fake) -> None:
    docker.fails("buildx")
    container_image.build_image(plan(checkout), Docker())
    arguments, _ = docker.heard()[-1]
    assert arguments[0] == "build"
    assert "--build-arg=TARGETARCH=arm64" in arguments
    assert "--build-arg=BUILDPLATFORM=" + "linux/amd64" in arguments


def test_an_image_is_pushed_once_and_named_by_its_digest(
    checkout: Path, docker: Fake, ecr: Any
) -> None:
    made = plan(checkout)
    first = publish_image("dev", made, clients, into(ecr))
    assert first.uri.startswith(f"{URI}@sha256:")
    assert first.tag == made.tag
    assert docker.verbs() == ["version", "buildx", "buildx", "login", "push", "logout"]
    said: list[str] = []
    assert publish_image("dev", made, clients, never, said.append) == first
    assert said == [f"payment-service-dev:{made.tag} is there already"]


def never() -> Docker:
    raise AssertionError("Docker is not needed for what is there already")


def test_a_password_is_said_on_standard_input_alone(
    repository: Path, docker: Fake, ecr: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    [authorization] = ecr.get_authorization_token()["authorizationData"]
    password = base64.b64decode(authorization["authorizationToken"]).decode().removeprefix("AWS:")
    publish_image("dev", plan(repository), clients, into(ecr))
    logins = [(arguments, said) for arguments, said in docker.heard() if said]
    registry = URI.partition("/")[0]
    assert logins == [(["login", "--username", "AWS", "--password-stdin", registry], password)]
    shown = "".join(capfd.readouterr())
    assert password not in shown
    assert all(password not in " ".join(arguments) for arguments, _ in docker.heard())


def test_docker_forgets_the_password_when_a_push_fails(
    checkout: Path, docker: Fake, ecr: Any
) -> None:
    docker.fails("push")
    with pytest.raises(ImageError, match="was not pushed; Docker says why above"):
        publish_image("dev", plan(checkout), clients)
    assert docker.heard()[-1][0] == ["logout", URI.partition("/")[0]]


def test_a_task_without_ipv4_has_a_name_for_the_same_image() -> None:
    made = RepositoryImage(uri=f"{URI}@{DIGEST}", tag="0.1.0")
    assert made.dual_stack_uri == (
        f"123456789012.dkr-ecr.{REGION}.on.aws/payment-service-dev@{DIGEST}"
    )
    assert dual_stack("123456789012.dkr.ecr.us-east-1.amazonaws.com") == (
        "123456789012.dkr-ecr.us-east-1.on.aws"
    )
    for other in ("docker.io/library/python", f"{URI}@{DIGEST}".replace("amazonaws.com", "test")):
        with pytest.raises(ImageError, match="in no registry of ECR"):
            dual_stack(other)


def test_what_cannot_be_built_or_pushed_is_said(
    checkout: Path, docker: Fake, ecr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(checkout)
    with pytest.raises(ImageError, match="must be one of arm64, x86_64"):
        plan(checkout, architecture="sparc")
    with pytest.raises(ImageError, match=r"'python:3\.13' must be named by its digest"):
        plan(checkout, base="python:3.13")
    with pytest.raises(ImageError, match=r"no repository payment-service-dev-2 .* `remit deploy"):
        publish_image("dev-2", made, clients)
    with pytest.raises(ConfigurationError, match="must begin with one of dev, staging, prod"):
        publish_image("test", made, clients)
    docker.fails("login")
    with pytest.raises(ImageError, match=r"amazonaws\.com refuses the login: Cannot do: login"):
        publish_image("dev", made, clients)
    docker.fails("buildx", "build")
    with pytest.raises(ImageError, match="was not built; Docker says why above"):
        publish_image("dev", made, clients)
    docker.fails("version")
    with pytest.raises(DockerError, match=r"does not answer\. Start it .*: Cannot do: version"):
        Docker()
    monkeypatch.setenv("PATH", str(checkout))
    with pytest.raises(DockerError, match=r"Docker is not on PATH\. Install it"):
        Docker()
    (checkout / "requirements/image.lock").unlink()
    with pytest.raises(ImageError, match=r"image\.lock is not here: run `remit image` in the repo"):
        plan(checkout)


def test_credentials_that_aws_does_not_take_are_said(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(checkout))
    # Where an earlier test's credentials may still be.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(ImageError, match="AWS does not take these credentials: Unable to locate"):
        publish_image("dev", plan(checkout), clients, never)


def test_the_command_prints_the_image_and_nothing_else(
    repository: Path, docker: Fake, ecr: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    image.image()
    assert capfd.readouterr().out == f"payment-service:{plan(repository).tag}\n"
    pushed = publish_image("dev", plan(repository), clients, into(ecr))
    image.image(env="dev", push=True, json=True)
    shown = capfd.readouterr()
    assert json.loads(shown.out) == {"uri": pushed.uri, "tag": pushed.tag}
    assert "is there already" in shown.err


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"push": True}, 2, "--push and --env are given together"),
        ({"env": "dev"}, 2, "--push and --env are given together"),
        ({"architecture": "sparc"}, 1, "must be one of arm64, x86_64"),
        ({}, 1, INSTALL),
    ],
)
def test_a_mistake_is_one_line(
    given: dict[str, Any],
    status: int,
    said: str,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(repository))
    with pytest.raises(SystemExit) as ended:
        image.image(**given)
    assert ended.value.code == status
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_revision_is_the_commit_that_is_checked_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert container_image.revision() == "unknown"
    for words in (
        ("init", "-q"),
        ("-c", "user.name=a", "-c", "user.email=a@b.test", "commit", "-qm", "a", "--allow-empty"),
    ):
        subprocess.run(["git", *words], check=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    assert container_image.revision() == commit.stdout.strip()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert container_image.revision() == "unknown"
