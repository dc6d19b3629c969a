"""Deploys a CloudFormation template with the functions' code, and takes it down again.

For the topology that is synthesised by the CDK, without the CDK's command line and without its
bootstrap stack: zip and template are in a bucket of the deployment's own, which goes with it.
"""

import hashlib
import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from remit.clock_and_ids import new_id
from remit.settings import PREFIX
from remit_infra.model.aws_account import (
    Clients,
    DeployError,
    Problem,
    account_of,
    account_problems,
)
from remit_infra.model.environments import Names

POLL_SECONDS = 1.0
Template = dict[str, Any]
Progress = Callable[[str, int, int], None]
"""Told what has happened, and how many of how many resources are done."""


def as_exports(settings: Mapping[str, str]) -> str:
    """The service's settings among these, as lines for a shell."""
    return "\n".join(
        f"export {name}={shlex.quote(value)}"
        for name, value in sorted(settings.items())
        if name.startswith(PREFIX)
    )


class CloudFormationStack:
    """One stack in one account and region. Raises DeployError."""

    def __init__(self, stack: str, names: Names, client: Clients, region: str) -> None:
        self.stack = stack
        self.names = names
        self.client = client
        self.region = region
        self.account = account_of(client)
        self.code_bucket = names.bucket("payment-code", self.account, self.region)

    def problems(self) -> Iterator[Problem]:
        """What would make this deployment fail, found before it begins."""
        reserved = sum(self.names.environment.concurrency.values())
        return account_problems(self.client, 0 if self.status() else reserved)

    def status(self) -> str | None:
        """The stack's status; None if there is none."""
        try:
            [stack] = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        status: str = stack["StackStatus"]
        return status

    def outputs(self) -> dict[str, str]:
        if self.status() is None:
            raise DeployError(f"There is no stack {self.stack} in {self.region}.")
        [stack] = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"]
        return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}

    def settings(self, function: str) -> dict[str, str]:
        """The service's settings as a deployed function has them."""
        name = self.names("function", function)
        found = self.client("lambda").get_function_configuration(FunctionName=name)
        variables: dict[str, str] = found["Environment"]["Variables"]
        return variables

    def exports(self, function: str) -> str:
        """The settings of a function as lines for a shell."""
        return as_exports(self.settings(function))

    def deploy(self, template: Template, code: Path, progress: Progress) -> dict[str, str]:
        """Makes or changes the stack; answers its outputs.

        What fails is rolled back by CloudFormation. Deploying again after a failure begins anew.
        """
        if self.status() == "ROLLBACK_COMPLETE":
            self._delete_stack(progress)
        self._make_code_bucket()
        body = json.dumps(template, sort_keys=True).encode()
        code_key = f"{hashlib.sha256(code.read_bytes()).hexdigest()}.zip"
        s3 = self.client("s3")
        s3.upload_file(str(code), self.code_bucket, code_key)
        s3.put_object(Bucket=self.code_bucket, Key="template.json", Body=body)
        began = self._newest_event()
        if self._change(code_key, template):
            self._wait(progress, began, total=len(template["Resources"]))
        return self.outputs()

    def _change(self, code_key: str, template: Template) -> bool:
        """Begins the change. False if there is nothing to change."""
        cloudformation = self.client("cloudformation")
        is_new = self.status() in (None, "REVIEW_IN_PROGRESS")
        url = self.client("s3").generate_presigned_url(
            "get_object", Params={"Bucket": self.code_bucket, "Key": "template.json"}
        )
        values = {"CodeBucket": self.code_bucket, "CodeKey": code_key}
        asked = {"StackName": self.stack, "ChangeSetName": f"deploy-{new_id()}"}
        try:
            cloudformation.create_change_set(
                **asked,
                ChangeSetType="CREATE" if is_new else "UPDATE",
                TemplateURL=url.split("?")[0],
                Capabilities=["CAPABILITY_NAMED_IAM"],
                Parameters=[
                    {"ParameterKey": name, "ParameterValue": value}
                    for name, value in values.items()
                    if name in template.get("Parameters", {})
                ],
            )
        except ClientError as error:
            raise DeployError(f"CloudFormation does not take the template: {error}") from error
        while True:
            made = cloudformation.describe_change_set(**asked)
            if made["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
                break
            time.sleep(POLL_SECONDS)
        if made["Status"] == "FAILED":
            cloudformation.delete_change_set(**asked)
            reason = made.get("StatusReason", "")
            if "didn't contain changes" in reason or "No updates" in reason:
                return False
            raise DeployError(f"CloudFormation does not take the template: {reason}")
        cloudformation.execute_change_set(**asked)
        return True

    def _make_code_bucket(self) -> None:
        s3 = self.client("s3")
        here: dict[str, Any] = {}
        if self.region != "us-east-1":
            here = {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
        try:
            s3.create_bucket(Bucket=self.code_bucket, **here)
        except ClientError as error:
            if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
                raise
        s3.put_public_access_block(
            Bucket=self.code_bucket,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
        )

    def destroy(self, progress: Progress) -> None:
        """Deletes the stack with everything in it. Buckets are emptied of every version first."""
        if self.status() is not None:
            for bucket in self._buckets_of_the_stack():
                self._empty(bucket)
            self._delete_stack(progress)
        if self._empty(self.code_bucket):
            self.client("s3").delete_bucket(Bucket=self.code_bucket)

    def _buckets_of_the_stack(self) -> list[str]:
        return [
            resource["PhysicalResourceId"]
            for resource in self._resources()
            if resource["ResourceType"] == "AWS::S3::Bucket"
        ]

    def _resources(self) -> list[dict[str, Any]]:
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        found = [
            one
            for page in pages.paginate(StackName=self.stack)
            for one in page["StackResourceSummaries"]
        ]
        return [one for one in found if one["ResourceStatus"] != "DELETE_COMPLETE"]

    def _empty(self, bucket: str) -> bool:
        """Deletes every version of every object. False if there is no such bucket."""
        s3 = self.client("s3")
        try:
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                found = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in versions]
                if found:
                    s3.delete_objects(Bucket=bucket, Delete={"Objects": found, "Quiet": True})
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchBucket":
                return False
            raise
        return True

    def _delete_stack(self, progress: Progress) -> None:
        total, began = len(self._resources()), self._newest_event()
        self.client("cloudformation").delete_stack(StackName=self.stack)
        self._wait(progress, began, total=total, gone_is_done=True)

    def _wait(
        self, progress: Progress, began: str | None, *, total: int, gone_is_done: bool = False
    ) -> None:
        """Follows the stack's events until it is done. Raises DeployError with what failed."""
        seen: set[str] = set()
        done: set[str] = set()
        failures: list[str] = []
        while (status := self.status()) is not None:
            for event in self._events_since(began):
                if event["EventId"] in seen:
                    continue
                seen.add(event["EventId"])
                name, state = event["LogicalResourceId"], event["ResourceStatus"]
                if state.endswith("_COMPLETE") and name != self.stack:
                    done.add(name)
                if state.endswith("_FAILED") and "cancelled" not in _reason(event):
                    failures.append(f"{name} ({event['ResourceType']}): {_reason(event)}")
                progress(f"{name} {state.lower().replace('_', ' ')}", len(done), total)
            if not status.endswith("_IN_PROGRESS"):
                break
            time.sleep(POLL_SECONDS)
        if status in (None, "DELETE_COMPLETE") and gone_is_done:
            return
        if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            what = "\n".join(f"  {failure}" for failure in failures) or "  no resource says why"
            raise DeployError(f"The stack {self.stack} is in {status}. What failed:\n{what}")

    def _newest_event(self) -> str | None:
        try:
            events = self.client("cloudformation").describe_stack_events(StackName=self.stack)
        except ClientError:
            return None
        return events["StackEvents"][0]["EventId"] if events["StackEvents"] else None

    def _events_since(self, event_id: str | None) -> list[Mapping[str, Any]]:
        """Oldest first. None if the stack is gone meanwhile."""
        found: list[Mapping[str, Any]] = []
        pages = self.client("cloudformation").get_paginator("describe_stack_events")
        try:
            for page in pages.paginate(StackName=self.stack):
                for event in page["StackEvents"]:
                    if event["EventId"] == event_id:
                        return found[::-1]
                    found.append(event)
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
        return found[::-1]


def _reason(event: Mapping[str, Any]) -> str:
    return str(event.get("ResourceStatusReason", "no reason given"))
