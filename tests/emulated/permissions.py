"""Roles with one action less: in a policy, in a topology's graph, and on the emulator; what AWS
refuses to those who have them; and the steps by which a role is tried.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from remit_infra.emulated.emulator import BATCHES
from remit_infra.graph.graph import Graph
from remit_infra.model.permissions import Statement

REFUSED = "is not authorized to perform: "
"""What AWS says before the action that a role may not take."""

Refused = Callable[[], bool]
"""Whether AWS has refused what the role lacks since the test began."""

Steps = Generator[str, None, None]
Check = Callable[[Any, Refused], Steps]
"""Drives what runs with a role, step by step, and names each step that fails. Take the first name
alone: the steps after it may need the one that failed.
"""

STEP_SECONDS = 150.0
"""How long a step may take: two runs of the clock, which makes up for what failed before."""

LOOK_SECONDS = 0.2


def step(name: str, look: Callable[[], object], expected: object, refused: Refused) -> Steps:
    """Names the step, with what it came to, unless `look` returns what is expected in time. Looks
    no longer once AWS has refused what the role lacks.
    """
    end = time.monotonic() + STEP_SECONDS
    while (found := look()) != expected:
        if refused() or time.monotonic() > end:
            yield f"{name}: {found!r}, not {expected!r}"
            return
        time.sleep(LOOK_SECONDS)


class Refusals:
    """What AWS refuses from now on, as those who are refused log it."""

    def __init__(self, log: Callable[[], Iterable[str]]) -> None:
        """`log` returns all that was logged until then, in lines or in files."""
        self._log = log
        self._before = self._counted()

    def actions(self) -> set[str]:
        """Each action that was refused."""
        return set(self._counted() - self._before)

    def _counted(self) -> Counter[str]:
        texts = (text for logged in self._log() for text in logged.split(REFUSED)[1:])
        return Counter(text.split(maxsplit=1)[0].strip('.,"') for text in texts)


def names_of(action: str) -> set[str]:
    """What the emulator may call an action: it knows some for several messages at once."""
    return {action, BATCHES.get(action, action)}


def less(document: dict[str, Any], statement: Statement, action: str) -> dict[str, Any]:
    """The policy without the action in that statement, and with all else that is in it."""
    kept = []
    for one in document["Statement"]:
        listed = [one["Action"]] if isinstance(one["Action"], str) else one["Action"]
        actions = listed
        if one["Sid"] == statement.sid:
            actions = [a for a in listed if a not in names_of(action)]
            assert len(actions) < len(listed)
        if actions:
            kept.append({**one, "Action": actions})
    return {**document, "Statement": kept}


def graph_with_less(graph: Graph, role: str, statement: Statement, action: str) -> Graph:
    """The graph in which the role may not do this. CloudFormation's names have no dashes."""
    names = (f"{role}-policy", f"{role}-policy".replace("-", ""))
    resources = []
    for resource in graph.resources:
        made = resource
        if resource.type == "aws:iam/rolePolicy:RolePolicy" and resource.name.startswith(names):
            policy = less(json.loads(resource.properties["policy"]), statement, action)
            properties = {**resource.properties, "policy": json.dumps(policy)}
            made = msgspec.structs.replace(resource, properties=properties)
        resources.append(made)
    assert resources != list(graph.resources)
    return msgspec.structs.replace(graph, resources=tuple(resources))


@contextmanager
def lacking(iam: Any, name: str, statement: Statement, action: str) -> Iterator[None]:
    """The role without the action, and with it again, come what may. Its policy has its name, and
    is its own, or is one of the account's that is attached to it.
    """
    if name in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=name, PolicyName=name)["PolicyDocument"]
        attached = None
    else:
        [found] = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        attached = found["PolicyArn"]
        version = iam.get_policy(PolicyArn=attached)["Policy"]["DefaultVersionId"]
        made = iam.get_policy_version(PolicyArn=attached, VersionId=version)
        document = made["PolicyVersion"]["Document"]
    fewer = less(document, statement, action)
    if fewer["Statement"]:
        iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=json.dumps(fewer))
    elif attached is None:
        # A policy has a statement at least.
        iam.delete_role_policy(RoleName=name, PolicyName=name)
    if attached is not None:
        iam.detach_role_policy(RoleName=name, PolicyArn=attached)
    try:
        yield
    finally:
        if attached is None:
            iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=json.dumps(document))
        else:
            iam.attach_role_policy(RoleName=name, PolicyArn=attached)
            if fewer["Statement"]:
                iam.delete_role_policy(RoleName=name, PolicyName=name)
