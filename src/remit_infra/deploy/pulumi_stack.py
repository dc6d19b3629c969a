"""A stack of a Pulumi project, through Pulumi's Automation API; and the release of its functions.

Pulumi's command line does the work, and keeps the state where `pulumi login` has set. The program
runs in this process.
"""

import json
import shutil
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pulumi
from pulumi import automation as auto

from remit_infra.components.compute.functions import ALIAS
from remit_infra.deploy.cloudformation import Progress
from remit_infra.model.aws_account import Clients, DeployError
from remit_infra.model.environments import Names

INSTALL = (
    "Pulumi's command line is not on PATH. Install it (https://www.pulumi.com/docs/install/: "
    "`brew install pulumi/tap/pulumi`, or `curl -fsSL https://get.pulumi.com | sh`), then "
    "`pulumi login`, for example `pulumi login s3://a-bucket-of-yours`."
)
AUTHORITIES = "https://truststore.pki.rds.amazonaws.com/{region}/{region}-bundle.pem"
"""The certificates of a region's RDS authorities (Amazon RDS, "Using SSL/TLS")."""

MAX_AUTHORITIES_BYTES = 1_000_000
POLL_SECONDS = 5.0
ENDED_STATES = frozenset({"Failed", "Stopped", "Succeeded"})


def require_pulumi() -> None:
    """Raises DeployError where Pulumi's command line is not on PATH. The message says how to
    install it.
    """
    if shutil.which("pulumi") is None:
        raise DeployError(INSTALL)


def fetch_authorities(region: str, target: Path) -> Path:
    """Writes the certificates of the authorities that sign RDS's, from AWS's trust store.

    Raises DeployError.
    """
    url = AUTHORITIES.format(region=region)
    try:
        # Trusting what this machine trusts: a company's proxy may need that.
        response = httpx.get(url, timeout=30, verify=ssl.create_default_context())
        body = response.raise_for_status().content
    except httpx.HTTPError as error:
        raise DeployError(f"RDS's certificates cannot be fetched from {url}: {error}.") from error
    if not body.startswith(b"-----BEGIN CERTIFICATE-----") or len(body) > MAX_AUTHORITIES_BYTES:
        raise DeployError(f"{url} holds no certificates.")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(body)
    return target


class PulumiStack:
    """One stack. Raises DeployError, which names the resource and the cause."""

    def __init__(
        self,
        project: str,
        stack: str,
        *,
        folder: Path,
        program: Callable[[], Mapping[str, Any]],
        configuration: Mapping[str, str],
    ) -> None:
        def run() -> None:
            for name, value in program().items():
                pulumi.export(name, value)

        self.name = stack
        try:
            self._stack = auto.create_or_select_stack(
                stack,
                project_name=project,
                program=run,
                opts=auto.LocalWorkspaceOptions(work_dir=str(folder)),
            )
            self._stack.set_all_config(
                {key: auto.ConfigValue(value) for key, value in configuration.items()}
            )
        except auto.CommandError as error:
            raise DeployError(_cause(error)) from error

    def up(self, progress: Progress, total: int) -> dict[str, str]:
        """Creates or updates the resources and returns the outputs. `total` is their number."""
        try:
            result = self._stack.up(on_event=_report_to(progress, total), suppress_outputs=True)
        except auto.CommandError as error:
            raise DeployError(_cause(error)) from error
        return {name: str(output.value) for name, output in result.outputs.items()}

    def destroy(self, progress: Progress, total: int) -> None:
        """Deletes the resources and the stack itself."""
        try:
            self._stack.destroy(on_event=_report_to(progress, total), remove=True)
        except auto.CommandError as error:
            raise DeployError(_cause(error)) from error

    def outputs(self) -> dict[str, str]:
        try:
            outputs = self._stack.outputs()
        except auto.CommandError as error:
            raise DeployError(_cause(error)) from error
        if not outputs:
            raise DeployError(f"There is nothing in the stack {self.name}.")
        return {name: str(output.value) for name, output in outputs.items()}


def _report_to(progress: Progress, total: int) -> Callable[[auto.EngineEvent], None]:
    """Reports every resource that is done."""
    done = 0

    def on_event(event: auto.EngineEvent) -> None:
        nonlocal done
        if event.res_outputs_event is not None:
            done += 1
            progress(event.res_outputs_event.metadata.urn.rpartition("::")[2], done, total)

    return on_event


def _cause(error: auto.CommandError) -> str:
    """The error lines of Pulumi's output, without the command that was run."""
    lines = [line.strip() for line in str(error).splitlines()]
    errors = [line for line in lines if line.startswith(("error:", "* "))]
    return "\n".join(errors) or lines[0]


def release(
    client: Clients,
    names: Names,
    functions: Iterator[str],
    say: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Moves the alias of each function to its newest version, in steps, while CodeDeploy monitors
    the alarms. Raises DeployError where CodeDeploy rolled it back.
    """
    lambda_, codedeploy = client("lambda"), client("codedeploy")
    application = names("release", "payment-releases")
    for function in functions:
        full_name = names("function", function)
        current = lambda_.get_alias(FunctionName=full_name, Name=ALIAS)["FunctionVersion"]
        newest = _newest(lambda_, full_name)
        if current == newest:
            continue
        deployment_id = codedeploy.create_deployment(
            applicationName=application,
            deploymentGroupName=names("release", function),
            revision={
                "revisionType": "AppSpecContent",
                "appSpecContent": {"content": _app_spec(full_name, current, newest)},
            },
        )["deploymentId"]
        say(f"{function}: a tenth of the calls to version {newest} for five minutes, then all")
        while (state := _state(codedeploy, deployment_id))["status"] not in ENDED_STATES:
            pause(POLL_SECONDS)
        if state["status"] != "Succeeded":
            cause = state.get("errorInformation", {}).get("message", state["status"])
            raise DeployError(f"{function} went back to version {current}: {cause}")


def _newest(lambda_: Any, function: str) -> str:
    pages = lambda_.get_paginator("list_versions_by_function").paginate(FunctionName=function)
    versions = [version["Version"] for page in pages for version in page["Versions"]]
    return str(max(int(version) for version in versions if version != "$LATEST"))


def _state(codedeploy: Any, deployment_id: str) -> dict[str, Any]:
    state: dict[str, Any] = codedeploy.get_deployment(deploymentId=deployment_id)["deploymentInfo"]
    return state


def _app_spec(function: str, current: str, newest: str) -> str:
    """The move, in CodeDeploy's form ("AppSpec file structure" for AWS Lambda)."""
    properties = {
        "Name": function,
        "Alias": ALIAS,
        "CurrentVersion": current,
        "TargetVersion": newest,
    }
    resource = {"function": {"Type": "AWS::Lambda::Function", "Properties": properties}}
    return json.dumps({"version": 0.0, "Resources": [resource]})
