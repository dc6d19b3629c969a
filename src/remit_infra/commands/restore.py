"""`remit restore`: a deployment's payments at a point in time, beside those that are there now."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from remit.clock_and_ids import now
from remit.entrypoints.cli.terminal import (
    Json,
    Steps,
    fail,
    number,
    print_error,
    print_json,
    print_table,
    value,
)
from remit_infra.commands.stack import require_tools

if TYPE_CHECKING:
    from remit_infra.restore.aurora import ClusterRecovery
    from remit_infra.restore.dynamodb import TableRecovery

Environment = Annotated[str, Parameter(name="--env")]


def restore(
    topology: Literal["fargate-aurora", "lambda-dynamodb"],
    /,
    *,
    env: Environment = "dev",
    at: datetime | None = None,
    until: datetime | None = None,
    drill: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> None:
    """Restore the payments to a point in time, into a new table or cluster, and verify them.

    Acts on the account and region of the shell's credentials. On DynamoDB, what came later is
    replayed.

    Example: `remit restore lambda-dynamodb --env prod --drill`

    Parameters
    ----------
    topology
        fargate-aurora or lambda-dynamodb.
    env
        The environment suffix that it was deployed with.
    at
        The point in time, in UTC: 2026-11-20T12:00:00. Without it, the latest there is.
    until
        Replay no change that was made later. Without it, every change there is. On DynamoDB.
    drill
        Delete the new table or cluster afterwards.
    json
        Print JSON, for pipes.
    """
    require_tools()
    from botocore.exceptions import BotoCoreError

    from remit_infra.model.aws_account import DeployError
    from remit_infra.model.environments import ConfigurationError
    from remit_infra.restore.dynamodb import RestoreError

    if topology == "fargate-aurora" and until is not None:
        fail("--until is for lambda-dynamodb: Aurora replays nothing. Use --at.", status=2)
    recovery: TableRecovery | ClusterRecovery
    try:
        if topology == "fargate-aurora":
            recovery = _cluster(env, _utc(at), drill=drill)
        else:
            recovery = _table(env, _utc(at), _utc(until), drill=drill)
    except (BotoCoreError, DeployError, ConfigurationError, RestoreError) as error:
        fail(str(error))
    if json:
        print_json(recovery)
    else:
        _print("cluster" if topology == "fargate-aurora" else "table", recovery)
    for one in recovery.discrepancies:
        print_error(f"{one.check} {one.record}: {one.problem}")
    if recovery.discrepancies:
        raise SystemExit(1)


def _table(
    env: str, at: datetime | None, until: datetime | None, *, drill: bool
) -> "TableRecovery":
    from remit_infra.deploy.lambda_dynamodb import named_stack
    from remit_infra.restore.dynamodb import TableRestore

    stack, steps = named_stack(env), Steps()
    stack.require()
    restoring = TableRestore(stack, steps.note)
    target = f"{restoring.source}-restored-{now():%Y%m%d-%H%M%S}"
    with steps.step(f"restoring {restoring.source}"):
        recovery = restoring.run(target, at=at, until=until)
        if drill:
            restoring.discard(target)
    return recovery


def _cluster(env: str, at: datetime | None, *, drill: bool) -> "ClusterRecovery":
    from remit_infra.deploy.pulumi_topology import named_account
    from remit_infra.restore.aurora import ClusterRestore

    clients, _, _ = named_account(env)
    steps = Steps()
    restoring = ClusterRestore(clients, env, steps.note)
    with steps.step(f"restoring {restoring.source}"):
        return restoring.run(restoring.target(now()), at=at, drill=drill)


def _print(kind: str, recovery: "TableRecovery | ClusterRecovery") -> None:
    row = (
        getattr(recovery, kind),
        str(recovery.payments),
        f"{recovery.recovery_point:%Y-%m-%d %H:%M:%S} UTC",
        f"{recovery.recovery_seconds:.1f} s",
        str(len(recovery.discrepancies)),
    )
    columns = (
        value(kind),
        number("payments"),
        value("recovery point"),
        number("recovery time"),
        number("discrepancies"),
    )
    print_table(columns, [row], empty="Nothing was restored.")


def _utc(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
