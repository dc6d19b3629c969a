"""Deploying fargate-aurora: what is looked at first, and in which order it is made."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from remit_infra.build import container_image
from remit_infra.deploy import fargate_aurora, pulumi_topology
from remit_infra.deploy.fargate_aurora import (
    IPV6_SERVICES,
    deploy,
    destroy,
    has_ipv6,
    problems,
)
from remit_infra.deploy.pulumi_topology import PulumiTopology
from remit_infra.model.aws_account import DeployError
from remit_infra.model.environments import ConfigurationError
from remit_infra.topologies.fargate_aurora.configuration import FargateAuroraConfiguration
from tests.tidy.tree import ROOT

pytestmark = pytest.mark.xdist_group("recorded")

REPOSITORY = "payment-service-dev"
DIGEST = f"sha256:{'0' * 64}"
BUILT = container_image.RepositoryImage(
    uri=f"123456789012.dkr.ecr.us-east-1.amazonaws.com/{REPOSITORY}@{DIGEST}", tag="1-arm64-0"
)
DUAL_STACK = f"123456789012.dkr-ecr.us-east-1.on.aws/{REPOSITORY}@{DIGEST}"


@dataclass
class Account:
    """AWS as it answers a deployment, each client for one question."""

    addresses: str = "enabled"
    has_repository: bool = True

    def __call__(self, service: str) -> Any:
        client: Any = boto3.client(service, region_name="us-east-1")  # type: ignore[call-overload]
        stub = Stubber(client)
        if service == "ecs":
            stub.add_response(
                "list_account_settings",
                {"settings": [{"name": "dualStackIPv6", "value": self.addresses}]},
                {"name": "dualStackIPv6", "effectiveSettings": True},
            )
        elif service == "sts":
            stub.add_response("get_caller_identity", {"Account": "123456789012"}, {})
        elif self.has_repository:
            stub.add_response("describe_repositories", {"repositories": []})
        else:
            stub.add_client_error("describe_repositories", "RepositoryNotFoundException")
        stub.activate()
        return client


@dataclass
class DeploymentAccount:
    """What a deployment does to it, in order, and what each of its programs was given."""

    account: Account = field(default_factory=Account)
    done: list[str] = field(default_factory=list)
    given: list[Mapping[str, str]] = field(default_factory=list)
    outputs: Path = Path()

    def stack(self, suffix: str, given: Mapping[str, str], program: object = None) -> Any:
        what = "everything" if program is None else "repository"

        def up(*_: object) -> dict[str, str]:
            self.done.append(f"made {what}")
            self.given.append(given)
            # What the foundation makes is the repository.
            self.account.has_repository = True
            return {"alb_dns_name": f"{suffix}.example.com"}

        return SimpleNamespace(up=up)

    def publish(self, *_: object, **__: object) -> container_image.RepositoryImage:
        assert self.account.has_repository
        self.done.append("published the image")
        return BUILT


@pytest.fixture
def deployment_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DeploymentAccount:
    """An account where everything can be deployed, a Pulumi and a Docker that nobody calls."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.chdir(ROOT)
    made = DeploymentAccount(outputs=tmp_path / "outputs" / "flat-outputs.json")

    def does(what: str, answer: object = None) -> Callable[..., Any]:
        def done(*_: object, **__: object) -> Any:
            made.done.append(what)
            return answer

        return done

    planned = container_image.ImagePlan(
        tag="1-arm64-0", version="1", architecture="arm64", base=container_image.BASE
    )
    monkeypatch.setattr(fargate_aurora, "require_pulumi", does("looked for Pulumi"))
    monkeypatch.setattr(
        pulumi_topology, "aws_clients", does("signed in", (made.account, "us-east-1"))
    )
    monkeypatch.setattr(fargate_aurora, "has_ipv6", lambda _: True)
    monkeypatch.setattr(fargate_aurora, "show_plan", does("showed the plan"))
    monkeypatch.setattr(fargate_aurora, "confirm", does("asked"))
    monkeypatch.setattr(container_image, "plan_image", does("planned the image", planned))
    monkeypatch.setattr(container_image, "publish_image", made.publish)
    monkeypatch.setattr(PulumiTopology, "stack", made.stack)
    monkeypatch.setattr(fargate_aurora, "OUTPUTS", made.outputs)
    return made


LOOKED = ["looked for Pulumi", "signed in", "planned the image", "showed the plan", "asked"]


def test_the_image_is_published_before_anything_can_run_it(
    deployment_account: DeploymentAccount,
) -> None:
    outputs = deploy("dev", architecture="arm64", ask=True)
    assert deployment_account.done == [*LOOKED, "published the image", "made everything"]
    assert (
        json.loads(deployment_account.outputs.read_text())
        == outputs
        == {"alb_dns_name": "dev.example.com"}
    )


def test_the_program_gets_the_digest_at_the_registry_that_ipv6_reaches(
    deployment_account: DeploymentAccount,
) -> None:
    deploy("dev", architecture="x86_64", ask=True, alarmEmail="ops@example.com", domainName=None)
    assert deployment_account.given == [
        {"architecture": "x86_64", "alarmEmail": "ops@example.com", "image": DUAL_STACK}
    ]


def test_the_first_deployment_makes_the_repository_before_the_image(
    deployment_account: DeploymentAccount,
) -> None:
    deployment_account.account.has_repository = False
    deploy("dev", architecture="arm64", ask=True)
    assert deployment_account.done[len(LOOKED) :] == [
        "made repository",
        "published the image",
        "made everything",
    ]


def test_what_cannot_be_built_is_refused_before_anything_is_asked_for(
    deployment_account: DeploymentAccount,
) -> None:
    with pytest.raises(ConfigurationError, match="prod speaks HTTPS only: set certificateArn"):
        deploy("prod", architecture="arm64", ask=False)
    with pytest.raises(ConfigurationError, match="Set certificateArn, or allowHttp"):
        deploy("dev", architecture="arm64", ask=False, allowHttp="false")
    assert deployment_account.done == []


def test_without_pulumi_nobody_signs_in(
    deployment_account: DeploymentAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise DeployError("Pulumi's command line is not on PATH.")

    monkeypatch.setattr(fargate_aurora, "require_pulumi", missing)
    with pytest.raises(DeployError, match="not on PATH"):
        deploy("dev", architecture="arm64", ask=False)
    assert deployment_account.done == []


def test_an_account_without_addresses_of_ipv6_is_said_before_the_plan(
    deployment_account: DeploymentAccount,
) -> None:
    deployment_account.account.addresses = "disabled"
    with pytest.raises(DeployError, match="put-account-setting-default --name dualStackIPv6"):
        deploy("dev", architecture="arm64", ask=False)
    assert deployment_account.done == LOOKED[:2]


def configuration(nat_gateways: int = 0) -> FargateAuroraConfiguration:
    return FargateAuroraConfiguration(
        environment_suffix="dev", environment="dev", nat_gateways=nat_gateways, allow_http=True
    )


def test_services_without_ipv6_are_named_and_a_nat_gateway_needs_none(
    deployment_account: DeploymentAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def known(host: str) -> bool:
        asked.append(host)
        return not host.startswith(("kms.", "xray."))

    monkeypatch.setattr(fargate_aurora, "has_ipv6", known)
    [problem] = problems(deployment_account.account, configuration())
    assert problem.problem.startswith("kms, xray cannot be asked over IPv6 in us-east-1")
    assert "set natGateways to 1" in problem.problem
    assert asked == [f"{service}.us-east-1.api.aws" for service in IPV6_SERVICES]
    asked.clear()
    assert (list(problems(deployment_account.account, configuration(nat_gateways=1))), asked) == (
        [],
        [],
    )


def test_a_name_without_an_address_has_no_ipv6() -> None:
    assert not has_ipv6("nowhere.invalid")


def test_prod_is_protected_from_being_destroyed(
    deployment_account: DeploymentAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulumi_topology, "require_pulumi", lambda: None)
    with pytest.raises(DeployError, match="prod is protected from deletion"):
        destroy("prod", ask=False)
    assert deployment_account.done == []
