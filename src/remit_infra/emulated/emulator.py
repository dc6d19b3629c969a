"""The emulator of AWS: ministack, in a virtual environment of its own, with permissions enforced.

`without_gaps` removes from a template what the emulator lacks. Each gap has its reason here.
"""

import copy
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import boto3
import httpx

from remit_infra.build.uv import UvError, uv
from remit_infra.emulated.certificate import make_certificate
from remit_infra.emulated.ports import free_port

REQUIREMENTS = Path("requirements/emulator.lock")
ENVIRONMENT = Path(".venv/emulator")
REGION = "us-east-1"
ACCOUNT = "123456789012"
CREDENTIALS = "test"
"""The access key and the secret of the account's root user."""

START_SECONDS = 30.0
STOP_SECONDS = 2.0
PAUSE_SECONDS = 0.05
Resource = Mapping[str, Any]

GAPS: Mapping[str, Callable[[Resource], bool]] = MappingProxyType(
    {
        "AWS::WAFv2::WebACLAssociation": lambda _: True,
        "AWS::WAFv2::LoggingConfiguration": lambda _: True,
        "AWS::CloudWatch::Alarm": lambda resource: "Metrics" in resource["Properties"],
    }
)
"""What the emulator's CloudFormation rejects, by type: associations and logging of a web firewall,
and alarms on an expression over several metrics.
"""


def _with_batch_actions(resource: Resource) -> Resource:
    if resource["Type"] != "AWS::IAM::ManagedPolicy":
        return resource
    policy = copy.deepcopy(dict(resource))
    for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
        actions = statement["Action"]
        actions = [actions] if isinstance(actions, str) else actions
        statement["Action"] = with_batch_actions(actions)
    return policy


def _is_gap(resource: Resource) -> bool:
    gap = GAPS.get(resource["Type"])
    return gap is not None and gap(resource)


BATCHES: Mapping[str, str] = MappingProxyType(
    {
        "sns:Publish": "sns:PublishBatch",
        "sqs:DeleteMessage": "sqs:DeleteMessageBatch",
        "sqs:SendMessage": "sqs:SendMessageBatch",
    }
)
"""The action of a call for several messages, by that for one. AWS allows it with the permission for
one; the emulator requires a permission of its own.
"""


def with_batch_actions(actions: Sequence[str]) -> list[str]:
    """The actions, with those for batches that the emulator requires."""
    return [*actions, *(BATCHES[action] for action in actions if action in BATCHES)]


class EmulatorError(Exception):
    """The emulator was not installed or did not start. The message says why."""


def without_gaps(template: Mapping[str, Any]) -> dict[str, Any]:
    """The template without what the emulator lacks, and with the actions that it requires."""
    resources = {
        name: _with_batch_actions(resource)
        for name, resource in template["Resources"].items()
        if not _is_gap(resource)
    }
    return {**template, "Resources": resources}


def install(environment: Path = ENVIRONMENT, requirements: Path = REQUIREMENTS) -> Path:
    """The path of the emulator's command. Installs it if it is missing or older than its lock.

    Raises EmulatorError.
    """
    command = environment / "bin" / "ministack"
    stamp = environment / "installed"
    if stamp.exists() and stamp.stat().st_mtime >= requirements.stat().st_mtime:
        return command
    try:
        # An interrupted installation leaves files behind.
        shutil.rmtree(environment, ignore_errors=True)
        uv("venv", "--quiet", "--python", sys.executable, str(environment))
        uv(
            *("pip", "install", "--quiet", "--python", str(environment / "bin" / "python")),
            *("--require-hashes", "--requirements", str(requirements)),
        )
    except UvError as error:
        raise EmulatorError(f"The emulator was not installed. {error}") from error
    stamp.touch()
    return command


class Emulator:
    """An emulator on a port of this machine, by default a free one."""

    def __init__(self, command: Path, folder: Path, port: int = 0) -> None:
        self._command = command
        self._folder = folder
        self.port = port or free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.certificate = folder / "emulator.pem"
        self.log = folder / "emulator.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a client with the permissions of the root user."""
        return {
            "AWS_ACCESS_KEY_ID": CREDENTIALS,
            "AWS_SECRET_ACCESS_KEY": CREDENTIALS,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CA_BUNDLE": str(self.certificate),
        }

    def client(self, service: str) -> Any:
        """The one client of this service: it takes a tenth of a second to make."""
        if service not in self._clients:
            session: Any = boto3.Session(CREDENTIALS, CREDENTIALS, region_name=REGION)
            self._clients[service] = session.client(
                service, endpoint_url=self.url, verify=str(self.certificate)
            )
        return self._clients[service]

    def start(self) -> None:
        scratch = self._folder / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        key = self._folder / "emulator.key"
        make_certificate(self.certificate, key)
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(  # nosec B603
                [str(self._command)],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={
                    "PATH": os.environ.get("PATH", ""),
                    "HOME": str(self._folder),
                    "TMPDIR": str(scratch),
                    "AUTH": "true",
                    "BIND_HOST": "127.0.0.1",
                    "GATEWAY_PORT": str(self.port),
                    "MINISTACK_ACCOUNT_ID": ACCOUNT,
                    "MINISTACK_HOST": "127.0.0.1",
                    "MINISTACK_REGION": REGION,
                    "AWS_ACCESS_KEY_ID": CREDENTIALS,
                    "AWS_SECRET_ACCESS_KEY": CREDENTIALS,
                    # The policies of queues, topics and buckets deny requests without TLS.
                    "USE_SSL": "1",
                    "MINISTACK_SSL_CERT": str(self.certificate),
                    "MINISTACK_SSL_KEY": str(key),
                },
            )
        for _ in range(int(START_SECONDS / PAUSE_SECONDS)):
            if self._is_healthy():
                return
            if self._process.poll() is not None:
                break
            time.sleep(PAUSE_SECONDS)
        self.stop()
        raise EmulatorError(f"The emulator did not start: see {self.log}.")

    def _is_healthy(self) -> bool:
        try:
            found = httpx.get(
                f"{self.url}/_ministack/health", verify=self.trust, timeout=1, trust_env=False
            )
        except httpx.TransportError:
            return False
        return found.is_success

    @cached_property
    def trust(self) -> ssl.SSLContext:
        """Trusts the emulator's certificate alone."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
            # The processes of its functions are in its process group.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        shutil.rmtree(self._folder / "tmp", ignore_errors=True)

    def api_url(self, endpoint: str) -> str:
        """The emulator's URL for an API Gateway endpoint of AWS."""
        host, _, stage = endpoint.removeprefix("https://").strip("/").partition("/")
        return f"{self.url}/_aws/execute-api/{host.partition('.')[0]}/{stage}"
