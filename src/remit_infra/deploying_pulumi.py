"""What `remit deploy`, `destroy` and `outputs` do alike for every topology in Pulumi."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from remit_infra.configured import DEPLOYMENTS
from remit_infra.deploying import Bar, confirm, say
from remit_infra.deployment import Clients, DeployError, Problem, aws_clients
from remit_infra.environments import Names
from remit_infra.pulumi_deployment import PulumiDeployment, require_pulumi

OUTPUTS = Path("pulumi-outputs/flat-outputs.json")

Program = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Topology:
    """A topology by its name and project. `program` makes a stack out of what was given, and
    `region` is where.
    """

    name: str
    project: str
    program: Callable[[str, Mapping[str, str]], Program]
    region: Callable[[str], str]

    def deployment(
        self, suffix: str, given: Mapping[str, str], program: Program | None = None
    ) -> PulumiDeployment:
        return PulumiDeployment(
            self.project,
            suffix,
            folder=DEPLOYMENTS / self.name,
            program=program or self.program(suffix, given),
            configuration={"aws:region": self.region(suffix)},
        )

    def destroy(self, suffix: str, resources: Callable[[], int], *, ask: bool) -> None:
        names = Names(suffix)
        require_pulumi()
        if names.environment.deletion_protection:
            raise DeployError(
                f"{suffix} is protected from deletion: deploy it with deletion_protection=False in "
                "src/remit_infra/environments.py first."
            )
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


def account_of(clients: Clients) -> str:
    """The account of the credentials. Raises DeployError where AWS does not take them."""
    try:
        account: str = clients("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise DeployError(f"AWS does not take these credentials: {error}") from error
    return account


def require_none(problems: list[Problem]) -> None:
    """Raises DeployError, with a line for each."""
    if problems:
        raise DeployError("\n".join(f"{one.check}: {one.problem}" for one in problems))


def write(outputs: Mapping[str, str]) -> None:
    OUTPUTS.parent.mkdir(exist_ok=True)
    OUTPUTS.write_text(json.dumps(outputs, indent=2, sort_keys=True) + "\n", encoding="utf-8")
