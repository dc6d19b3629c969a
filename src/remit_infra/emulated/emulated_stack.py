"""A Pulumi topology on this machine: Terraform's AWS provider applies it to the emulator, and the
embedded PostgreSQL is its database.
"""

import json
from collections.abc import Callable
from pathlib import Path

from remit_infra.components.data.postgres import ADMIN_USER
from remit_infra.emulated.database import EmulatedDatabase
from remit_infra.emulated.emulator import REGION, Emulator
from remit_infra.emulated.terraform_gaps import adapt_to_emulator
from remit_infra.graph.graph import Graph
from remit_infra.graph.terraform import Report, Terraform, to_terraform
from remit_infra.model.environments import Names

PROVIDER = {"region": REGION, "s3_use_path_style": True}


class EmulatedStack:
    """`record` is the topology's `record_graph`. Raises TerraformError where Terraform is missing
    or fails.
    """

    def __init__(
        self,
        record: Callable[..., Graph],
        suffix: str,
        emulator: Emulator,
        database: EmulatedDatabase,
        folder: Path,
    ) -> None:
        self.names = Names(suffix)
        self.emulator = emulator
        self.database = database
        self.terraform = Terraform(folder, emulator.environment)
        self.secret_arn = emulator.client("secretsmanager").create_secret(
            Name="rds-managed", SecretString=_login(database.password)
        )["ARN"]
        self._record = record

    def apply(self, report: Report = lambda *_: None, **configuration: str) -> dict[str, str]:
        """Makes all resources, reports each, and returns the outputs. `configuration` is by key."""
        graph = self._record(self.names.suffix, **configuration)
        self.terraform.write(
            to_terraform(graph, PROVIDER, adapt_to_emulator(self.database.port, self.secret_arn))
        )
        self.terraform.init()
        self.terraform.apply(report)
        return self.terraform.outputs()

    def change_password(self, password: str) -> None:
        """Changes it in the database and in its secret, as Secrets Manager rotates it."""
        self.database.change_password(password)
        self.emulator.client("secretsmanager").put_secret_value(
            SecretId=self.secret_arn, SecretString=_login(password)
        )


def _login(password: str) -> str:
    return json.dumps({"username": ADMIN_USER, "password": password})
