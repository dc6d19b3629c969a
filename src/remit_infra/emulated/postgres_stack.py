"""lambda-postgres on this machine, with the functions in the emulator."""

from collections.abc import Mapping
from pathlib import Path

from remit.assembly.service import assemble
from remit.ports.app import App
from remit.settings import read_settings
from remit_infra.deploy.operator_settings import function_settings, operator_settings
from remit_infra.emulated.database import EmulatedDatabase
from remit_infra.emulated.emulated_stack import EmulatedStack
from remit_infra.emulated.emulator import Emulator
from remit_infra.topologies.lambda_postgres import record_graph


class EmulatedLambdaPostgres(EmulatedStack):
    """The emulator runs the functions, and they reach the database."""

    def __init__(
        self, suffix: str, emulator: Emulator, database: EmulatedDatabase, folder: Path
    ) -> None:
        super().__init__(record_graph, suffix, emulator, database, folder)

    @property
    def balancer_url(self) -> str:
        """The emulator's URL for the load balancer."""
        return f"{self.emulator.url}/_alb/{self.names('load balancer', 'payment-alb')}"

    def app(self, more: Mapping[str, str]) -> App:
        """The service, assembled in this process, with direct access to the database."""
        name = self.names("function", "payment-delivery")
        variables = function_settings(self.emulator.client, name)
        variables["REMIT_DATABASE_CA"] = str(self.emulator.certificate)
        return assemble(read_settings({**variables, **more}))

    def operator(self) -> App:
        """The service, assembled as an operator's command does it: without the database."""
        return assemble(read_settings(operator_settings(self.emulator.client, self.names.suffix)))
