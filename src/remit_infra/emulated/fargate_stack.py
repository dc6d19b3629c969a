"""fargate-aurora on this machine, with a Redis for its cache and its tasks as processes."""

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
from remit_infra.components.roles import VERSION
from remit_infra.emulated.cache import EmulatedCache
from remit_infra.emulated.database import EmulatedDatabase
from remit_infra.emulated.emulated_stack import EmulatedStack
from remit_infra.emulated.emulator import ACCOUNT, REGION, Emulator, free_port
from remit_infra.topologies.fargate_aurora import record_graph

STOP_SECONDS = 60
PAUSE_SECONDS = 0.1


class EmulatedFargateAurora(EmulatedStack):
    """Its tasks are processes of this machine, each with the credentials of its role."""

    def __init__(
        self, suffix: str, emulator: Emulator, database: EmulatedDatabase, folder: Path
    ) -> None:
        super().__init__(record_graph, suffix, emulator, database, folder)
        self._keys: dict[str, str] = {}
        certificate = emulator.certificate
        self.cache = EmulatedCache(
            certificate=certificate,
            key=certificate.with_suffix(".key"),
            keys=self._keys,
            name=self.names("cache", "payment-cache"),
            user=self.names("cache user", USER),
        )

    def start(
        self, family: str, output: Path, command: Sequence[str] = (), **more: str
    ) -> "TaskProcess":
        """A process as the family's newest definition says: its command, unless there is another,
        its environment, and the credentials of its role; with the addresses of this machine.
        """
        definition = self._definition(family)
        [container] = definition["containerDefinitions"]
        credentials = self._credentials(definition["taskRoleArn"], family)
        environment = self.environment(family) | credentials | more
        return TaskProcess([*(command or container["command"])], environment, output)

    def environment(self, family: str) -> dict[str, str]:
        """What a task of the family is told, with the addresses of this machine."""
        [container] = self._definition(family)["containerDefinitions"]
        told = {one["name"]: one["value"] for one in container["environment"]}
        # The emulator is one address for all of AWS.
        del told["AWS_USE_DUALSTACK_ENDPOINT"]
        return told | self._addresses()

    def trust(self, access_key: str, secret: str) -> None:
        """From now on the cache lets in who signs with this, as it does any role that may."""
        self._keys[access_key] = secret

    def _definition(self, family: str) -> dict[str, Any]:
        found: dict[str, Any] = self.emulator.client("ecs").describe_task_definition(
            taskDefinition=self.names("task", family)
        )["taskDefinition"]
        return found

    def _credentials(self, role_arn: str, family: str) -> dict[str, str]:
        """Those of the task's role, as ECS gives them to a task. Here the account's root takes the
        role instead, which must trust it for that moment.
        """
        iam, name = self.emulator.client("iam"), role_arn.rpartition("/")[2]
        trusted = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(_TRUSTING_ROOT))
        made = self.emulator.client("sts").assume_role(RoleArn=role_arn, RoleSessionName=family)
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trusted))
        given = made["Credentials"]
        self.trust(given["AccessKeyId"], given["SecretAccessKey"])
        return {
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        }

    def _addresses(self) -> dict[str, str]:
        certificate = str(self.emulator.certificate)
        return {
            "AWS_CA_BUNDLE": certificate,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.emulator.url,
            "REMIT_CACHE_CA": certificate,
            "REMIT_CACHE_ENDPOINT": self.cache.endpoint,
            "REMIT_DATABASE_CA": certificate,
            "REMIT_DATABASE_ENDPOINT": f"localhost:{self.database.port}",
        }


class TaskProcess:
    """A task of a service, as a process that listens on a port of its own."""

    def __init__(self, command: list[str], environment: Mapping[str, str], output: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        ports = {name: str(self.port) for name in _PORTS if name in environment}
        with output.open("ab") as written:
            self.process = subprocess.Popen(  # nosec B603
                [sys.executable, "-m", "remit", *command],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ.get("PATH", ""), **environment, **ports},
            )

    def is_live(self) -> bool:
        """Whether it answers. Raises RuntimeError when it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"A task ended with status {self.process.returncode}.")
        return is_live(self.port)

    def wait(self) -> None:
        """Until it answers."""
        while not self.is_live():
            time.sleep(PAUSE_SECONDS)

    def end(self) -> int:
        """Tells it to stop, and waits as long as ECS does; its exit status."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        self.process.kill()
        return self.process.wait()


_TRUSTING_ROOT = {
    "Version": VERSION,
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
            "Action": "sts:AssumeRole",
        }
    ],
}
_PORTS = ("REMIT_PORT", "REMIT_WORKER_PORT")
