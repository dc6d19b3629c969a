"""fargate-aurora on this machine, with an emulated cache, and tasks as processes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from remit.entrypoints.healthcheck import is_live
from remit_infra.components.data.cache import USER
from remit_infra.components.roles import POLICY_VERSION
from remit_infra.emulated.cache import EmulatedCache
from remit_infra.emulated.database import EmulatedDatabase
from remit_infra.emulated.emulated_stack import EmulatedStack
from remit_infra.emulated.emulator import ACCOUNT, REGION, Emulator
from remit_infra.emulated.ports import free_port
from remit_infra.topologies.fargate_aurora import record_graph

STOP_SECONDS = 60
PAUSE_SECONDS = 0.1


class EmulatedFargateAurora(EmulatedStack):
    """Each task is a process of this machine with the credentials of the task's role."""

    def __init__(
        self, suffix: str, emulator: Emulator, database: EmulatedDatabase, folder: Path
    ) -> None:
        super().__init__(record_graph, suffix, emulator, database, folder)
        self._access_keys: dict[str, str] = {}
        certificate = emulator.certificate
        self.cache = EmulatedCache(
            certificate=certificate,
            key=certificate.with_suffix(".key"),
            access_keys=self._access_keys,
            name=self.names("cache", "payment-cache"),
            user=self.names("cache user", USER),
        )

    def start(
        self, family: str, output: Path, command: Sequence[str] = (), **more: str
    ) -> "TaskProcess":
        """Starts a task of the family's newest definition, with another command if there is one.

        The process has the definition's environment with this machine's addresses, the credentials
        of its role, and the variables in `more`.
        """
        definition = self._definition(family)
        [container] = definition["containerDefinitions"]
        credentials = self._credentials(definition["taskRoleArn"], family)
        environment = self.environment(family) | credentials | more
        return TaskProcess([*(command or container["command"])], environment, output)

    def environment(self, family: str) -> dict[str, str]:
        """The environment of a task of the family, with this machine's addresses."""
        [container] = self._definition(family)["containerDefinitions"]
        environment = {each["name"]: each["value"] for each in container["environment"]}
        # The emulator has one address for all services.
        del environment["AWS_USE_DUALSTACK_ENDPOINT"]
        return environment | self._addresses()

    def trust(self, access_key: str, secret: str) -> None:
        """Makes the cache accept the signatures of this access key."""
        self._access_keys[access_key] = secret

    def _definition(self, family: str) -> dict[str, Any]:
        definition: dict[str, Any] = self.emulator.client("ecs").describe_task_definition(
            taskDefinition=self.names("task", family)
        )["taskDefinition"]
        return definition

    def _credentials(self, role_arn: str, family: str) -> dict[str, str]:
        """The credentials of the task's role, as ECS passes them to a task. Here the account's root
        assumes the role, which must trust it meanwhile.
        """
        iam, name = self.emulator.client("iam"), role_arn.rpartition("/")[2]
        trust_policy = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(_TRUST_ROOT))
        assumed = self.emulator.client("sts").assume_role(RoleArn=role_arn, RoleSessionName=family)
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust_policy))
        credentials = assumed["Credentials"]
        self.trust(credentials["AccessKeyId"], credentials["SecretAccessKey"])
        return {
            "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
            "AWS_SESSION_TOKEN": credentials["SessionToken"],
        }

    def _addresses(self) -> dict[str, str]:
        certificate = str(self.emulator.certificate)
        return {
            "AWS_CA_BUNDLE": certificate,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.emulator.url,
            "REMIT_CACHE_CA": certificate,
            "REMIT_CACHE_ENDPOINT": self.cache.endpoint,
            "REMIT_DATABASE_CA": certificate,
            "REMIT_DATABASE_ENDPOINT": f"localhost:{self.database.port}",
        }


class TaskProcess:
    """A task as a process, which listens on a port of its own."""

    def __init__(self, command: list[str], environment: Mapping[str, str], output: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        ports = {name: str(self.port) for name in _PORTS if name in environment}
        with output.open("ab") as log:
            self.process = subprocess.Popen(  # nosec B603
                [sys.executable, "-m", "remit", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ.get("PATH", ""), **environment, **ports},
            )

    def is_live(self) -> bool:
        """Whether it answers its health check. Raises RuntimeError if it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"A task ended with status {self.process.returncode}.")
        return is_live(self.port)

    def wait(self) -> None:
        """Waits until it answers its health check."""
        while not self.is_live():
            time.sleep(PAUSE_SECONDS)

    def end(self) -> int:
        """Sends SIGTERM, and SIGKILL when ECS would send it. Returns the exit status."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        self.process.kill()
        return self.process.wait()


_TRUST_ROOT = {
    "Version": POLICY_VERSION,
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
            "Action": "sts:AssumeRole",
        }
    ],
}
_PORTS = ("REMIT_PORT", "REMIT_WORKER_PORT")
