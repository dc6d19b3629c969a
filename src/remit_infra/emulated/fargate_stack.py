"""fargate-aurora on this machine: applied to the emulator by Terraform's AWS provider, with the
embedded PostgreSQL and a Redis where database and cache would be, and its tasks as processes.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from remit.entrypoints.live import is_live
from remit_infra.emulated.cache import EmulatedCache
from remit_infra.emulated.database import EmulatedDatabase
from remit_infra.emulated.emulator import ACCOUNT, REGION, Emulator
from remit_infra.emulated.postgres_stack import PROVIDER, login_of
from remit_infra.emulated.terraform_gaps import adapted
from remit_infra.environments import Names
from remit_infra.parts.cache import USER
from remit_infra.parts.policies import VERSION
from remit_infra.terraform import Terraform, to_terraform
from remit_infra.topologies.fargate_aurora import recorded

STOP_SECONDS = 60
PAUSE_SECONDS = 0.1


class EmulatedFargate:
    """Raises TerraformError where Terraform is missing or refuses."""

    def __init__(
        self, suffix: str, emulator: Emulator, database: EmulatedDatabase, folder: Path
    ) -> None:
        self.names = Names(suffix)
        self.emulator = emulator
        self.database = database
        self._keys: dict[str, str] = {}
        certificate = emulator.certificate
        self.cache = EmulatedCache(
            certificate=certificate,
            key=certificate.with_suffix(".key"),
            keys=self._keys,
            name=self.names("cache", "payment-cache"),
            user=self.names("cache user", USER),
        )
        self.terraform = Terraform(folder, emulator.environment)
        self.secret_arn = emulator.client("secretsmanager").create_secret(
            Name="rds-managed", SecretString=login_of(database.password)
        )["ARN"]

    def apply(self, **configuration: str) -> dict[str, str]:
        """Makes everything, and answers with the outputs."""
        graph = recorded(self.names.suffix, **configuration)
        self.terraform.write(
            to_terraform(graph, PROVIDER, adapted(self.database.port, self.secret_arn))
        )
        self.terraform.init()
        self.terraform.apply()
        return self.terraform.outputs()

    def start(self, family: str, output: Path, command: Sequence[str] = (), **more: str) -> "Task":
        """A process as the family's newest definition says: its command, unless there is another,
        its environment, and the credentials of its role; with the addresses of this machine.
        """
        definition = self._definition(family)
        [container] = definition["containerDefinitions"]
        credentials = self._credentials(definition["taskRoleArn"], family)
        environment = self.environment(family) | credentials | more
        return Task([*(command or container["command"])], environment, output)

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

    def change_password(self, password: str) -> None:
        """As Secrets Manager rotates it."""
        self.database.change_password(password)
        self.emulator.client("secretsmanager").put_secret_value(
            SecretId=self.secret_arn, SecretString=login_of(password)
        )


class Task:
    """A task of a service, as a process that listens on a port of its own."""

    def __init__(self, command: list[str], environment: Mapping[str, str], output: Path) -> None:
        self.port = _free_port()
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
