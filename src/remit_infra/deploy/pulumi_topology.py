"""What `remit deploy`, `destroy` and `outputs` have alike for both Pulumi topologies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from remit.entrypoints.cli.terminal import Steps, print_note
from remit_infra.deploy.cloudformation import as_exports
from remit_infra.deploy.pulumi_stack import PulumiStack, require_pulumi
from remit_infra.deploy.terminal import confirm, print_target, require_unprotected
from remit_infra.graph.graph import Graph
from remit_infra.model.aws_account import Clients, DeployError, account_of, aws_clients
from remit_infra.model.environments import Names
from remit_infra.model.stack_config import DEPLOY_FOLDER

OUTPUTS = Path("pulumi-outputs/flat-outputs.json")

Program = Callable[[], Mapping[str, Any]]
"""A Pulumi program: makes the resources and returns the outputs."""


def named_account(suffix: str) -> tuple[Clients, str, str]:
    """Clients, account and region, once it is said which stack is acted on.

    Raises ConfigurationError, DeployError.
    """
    Names(suffix)
    clients, region = aws_clients()
    account = account_of(clients)
    print_target(suffix, account, region)
    return clients, account, region


def settings_exports(suffix: str, read: Callable[[Clients, str], Mapping[str, str]]) -> str:
    """The settings that `read` finds of a deployment, as lines for a shell. Raises DeployError."""
    clients, _, _ = named_account(suffix)
    try:
        return as_exports(read(clients, suffix))
    except (BotoCoreError, ClientError) as error:
        raise DeployError(f"{suffix} is not deployed here: {error}") from error


@dataclass(frozen=True, kw_only=True)
class PulumiTopology:
    """A topology by its name and Pulumi project. `program` makes the program of a stack, for its
    suffix and further configuration by key. `region` is that of the stack's file. `record` is the
    topology's `record_graph`.
    """

    name: str
    project: str
    program: Callable[[str, Mapping[str, str]], Program]
    region: Callable[[str], str]
    record: Callable[..., Graph]

    def stack(
        self, suffix: str, overrides: Mapping[str, str], program: Program | None = None
    ) -> PulumiStack:
        return PulumiStack(
            self.project,
            suffix,
            folder=DEPLOY_FOLDER / self.name,
            program=program or self.program(suffix, overrides),
            configuration={"aws:region": self.region(suffix)},
        )

    def destroy(self, suffix: str, *, ask: bool) -> None:
        """Asks and deletes the stack. Raises ConfigurationError, DeployError."""
        names = Names(suffix)
        require_pulumi()
        require_unprotected(names)
        _, account, _ = named_account(suffix)
        confirm(f"Delete the stack {suffix} in {account}, with every payment in it?", ask=ask)
        stack = self.stack(suffix, {})
        # Only the number of resources counts here, so the file needs no certificate.
        total = len(self.record(suffix, allowHttp="true").resources)
        steps = Steps()
        with steps.step("destroying") as progress:
            stack.destroy(progress, total)
        steps.note(f"{suffix} is gone")

    def outputs(self, suffix: str) -> dict[str, str]:
        Names(suffix)
        require_pulumi()
        print_note(f"acting on the stack {suffix} where `pulumi login` keeps its state")
        return self.stack(suffix, {}).outputs()
