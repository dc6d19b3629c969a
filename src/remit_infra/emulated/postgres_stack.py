"""lambda-postgres on this machine: applied to the emulator by Terraform's AWS provider, with the
embedded PostgreSQL where the database would be.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from remit.app import assemble
from remit.ports import App
from remit.settings import read_settings
from remit_infra.emulated.database import ADMIN, EmulatedDatabase
from remit_infra.emulated.emulator import REGION, Emulator
from remit_infra.emulated.terraform_gaps import adapted
from remit_infra.operating import function_settings, operator_settings
from remit_infra.terraform import Terraform, to_terraform
from remit_infra.topologies.lambda_postgres import recorded

PROVIDER = {"region": REGION, "s3_use_path_style": True}


class EmulatedStack:
    """Raises TerraformError where Terraform is missing or refuses."""

    def __init__(
        self, suffix: str, emulator: Emulator, database: EmulatedDatabase, folder: Path
    ) -> None:
        self.suffix = suffix
        self.emulator = emulator
        self.database = database
        self.terraform = Terraform(folder, emulator.environment)
        self.secret_arn = emulator.client("secretsmanager").create_secret(
            Name="rds-managed", SecretString=login_of(database.password)
        )["ARN"]

    @property
    def balancer_url(self) -> str:
        """Where the load balancer of AWS is found here."""
        return f"{self.emulator.url}/_alb/payment-alb-{self.suffix}"

    def apply(self, **configuration: str) -> dict[str, str]:
        """Makes everything, and answers with the outputs."""
        graph = recorded(self.suffix, **configuration)
        self.terraform.write(
            to_terraform(graph, PROVIDER, adapted(self.database.port, self.secret_arn))
        )
        self.terraform.init()
        self.terraform.apply()
        return self.terraform.outputs()

    def app(self, more: Mapping[str, str]) -> App:
        """The same service, assembled on this machine, where the database is in reach."""
        own = self._settings("payment-delivery")
        own["REMIT_DATABASE_CA"] = str(self.emulator.certificate)
        return assemble(read_settings({**own, **more}))

    def operator(self) -> App:
        """The service as an operator's command has it, which reaches no database."""
        return assemble(read_settings(operator_settings(self.emulator.client, self.suffix)))

    def _settings(self, function: str) -> dict[str, str]:
        return function_settings(self.emulator.client, f"{function}-{self.suffix}")

    def change_password(self, password: str) -> None:
        """As Secrets Manager rotates it."""
        self.database.change_password(password)
        self.emulator.client("secretsmanager").put_secret_value(
            SecretId=self.secret_arn, SecretString=login_of(password)
        )


def login_of(password: str) -> str:
    return json.dumps({"username": ADMIN, "password": password})
