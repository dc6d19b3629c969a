"""A topology in Pulumi on this machine: applied to the emulator by the AWS provider of Terraform,
with the embedded PostgreSQL where the database would be.
"""

import json
from collections.abc import Callable
from pathlib import Path

from remit_infra.emulated.database import ADMIN, EmulatedDatabase
from remit_infra.emulated.emulator import REGION, Emulator
from remit_infra.emulated.terraform_gaps import adapt_to_emulator
from remit_infra.graph.graph import Graph
from remit_infra.graph.terraform import Terraform, to_terraform
from remit_infra.model.environments import Names

PROVIDER = {"region": REGION, "s3_use_path_style": True}


class EmulatedStack:
    """Raises TerraformError where Terraform is missing or refuses."""

    def __init__(
        self,
        recorded: Callable[..., Graph],
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
            Name="rds-managed", SecretString=_login_of(database.password)
        )["ARN"]
        self._recorded = recorded

    def apply(self, **configuration: str) -> dict[str, str]:
        """Makes everything, and answers with the outputs."""
        graph = self._recorded(self.names.suffix, **configuration)
        self.terraform.write(
            to_terraform(graph, PROVIDER, adapt_to_emulator(self.database.port, self.secret_arn))
        )
        self.terraform.init()
        self.terraform.apply()
        return self.terraform.outputs()

    def change_password(self, password: str) -> None:
        """As Secrets Manager rotates it."""
        self.database.change_password(password)
        self.emulator.client("secretsmanager").put_secret_value(
            SecretId=self.secret_arn, SecretString=_login_of(password)
        )


def _login_of(password: str) -> str:
    return json.dumps({"username": ADMIN, "password": password})
