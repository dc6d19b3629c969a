"""What `remit deploy`, `destroy` and `outputs` do alike for every topology in Pulumi."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remit_infra.deploy.lambda_dynamodb import Bar, confirm, require_unprotected, say
from remit_infra.deploy.pulumi_stack import PulumiStack, require_pulumi
from remit_infra.model.aws_account import account_of, aws_clients
from remit_infra.model.environments import Names
from remit_infra.model.stack_config import DEPLOY_FOLDER

OUTPUTS = Path("pulumi-outputs/flat-outputs.json")

Program = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class PulumiTopology:
    """A topology by its name and project. `program` makes a stack out of what was given, and
    `region` is where.
    """

    name: str
    project: str
    program: Callable[[str, Mapping[str, str]], Program]
    region: Callable[[str], str]

    def deployment(
        self, suffix: str, given: Mapping[str, str], program: Program | None = None
    ) -> PulumiStack:
        return PulumiStack(
            self.project,
            suffix,
            folder=DEPLOY_FOLDER / self.name,
            program=program or self.program(suffix, given),
            configuration={"aws:region": self.region(suffix)},
        )

    def destroy(self, suffix: str, resources: Callable[[], int], *, ask: bool) -> None:
        names = Names(suffix)
        require_pulumi()
        require_unprotected(names)
        clients, _ = aws_clients()
        account = account_of(clients)
        confirm(f"Delete the stack {suffix} in {account}, with every payment in it?", ask=ask)
        deployment = self.deployment(suffix, {})
        with Bar("destroying") as told:
            deployment.destroy(told, resources())
        say(f"{suffix} is gone")

    def outputs(self, suffix: str) -> dict[str, str]:
        Names(suffix)
        require_pulumi()
        return self.deployment(suffix, {}).outputs()
