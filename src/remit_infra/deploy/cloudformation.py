"""Deploys a CloudFormation template with the zip of its functions, and deletes the stack.

It needs neither the CDK's command line nor its bootstrap stack: zip and template are in a bucket of
the deployment's own, which is deleted with the stack.
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
"""Called for each change with a description, the resources that are done, and those in all."""


def as_exports(settings: Mapping[str, str]) -> str:
    """The service's settings among these variables, as lines for a shell."""
    return "\n".join(
        f"export {name}={shlex.quote(value)}"
        for name, value in sorted(settings.items())
        if name.startswith(PREFIX)
    )


class CloudFormationStack:
    """One stack in one account and region. Raises DeployError."""

    def __init__(self, name: str, names: Names, client: Clients, region: str) -> None:
        self.name = name
        self.names = names
        self.client = client
        self.region = region
        self.account = account_of(client)
        self.code_bucket = names.bucket("payment-code", self.account, self.region)

    def problems(self) -> Iterator[Problem]:
        """The obstacles in the account to this deployment."""
        reserved = sum(self.names.environment.concurrency.values())
        return account_problems(self.client, 0 if self.status() else reserved)

    def status(self) -> str | None:
        """The stack's status; None if there is no stack."""
        try:
            [stack] = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        status: str = stack["StackStatus"]
        return status

    def require(self) -> None:
        """Raises DeployError where there is no stack."""
        if self.status() is None:
            raise DeployError(f"There is no stack {self.name} in {self.region}.")

    def outputs(self) -> dict[str, str]:
        self.require()
        [stack] = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        return {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])}

    def settings(self, function: str) -> dict[str, str]:
        """The environment variables of a deployed function."""
        self.require()
        name = self.names("function", function)
        described = self.client("lambda").get_function_configuration(FunctionName=name)
        variables: dict[str, str] = described["Environment"]["Variables"]
        return variables

    def exports(self, function: str) -> str:
        """The service's settings of a function, as lines for a shell."""
        return as_exports(self.settings(function))

    def deploy(self, template: Template, code: Path, progress: Progress) -> dict[str, str]:
        """Creates or updates the stack and returns its outputs.

        CloudFormation rolls a failed change back. After a failed creation, the next deployment
        deletes what is left of it and starts again.
        """
        if self.status() == "ROLLBACK_COMPLETE":
            self._delete_stack(progress)
        self._make_code_bucket()
        body = json.dumps(template, sort_keys=True).encode()
        code_key = f"{hashlib.sha256(code.read_bytes()).hexdigest()}.zip"
        s3 = self.client("s3")
        s3.upload_file(str(code), self.code_bucket, code_key)
        s3.put_object(Bucket=self.code_bucket, Key="template.json", Body=body)
        last_event = self._newest_event()
        if self._start_change(code_key, template):
            self._wait(progress, last_event, total=len(template["Resources"]))
        return self.outputs()

    def _start_change(self, code_key: str, template: Template) -> bool:
        """False if there is nothing to change."""
        cloudformation = self.client("cloudformation")
        is_new = self.status() in (None, "REVIEW_IN_PROGRESS")
        url = self.client("s3").generate_presigned_url(
            "get_object", Params={"Bucket": self.code_bucket, "Key": "template.json"}
        )
        values = {"CodeBucket": self.code_bucket, "CodeKey": code_key}
        change_set = {"StackName": self.name, "ChangeSetName": f"deploy-{new_id()}"}
        try:
            cloudformation.create_change_set(
                **change_set,
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
            described = cloudformation.describe_change_set(**change_set)
            if described["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
                break
            time.sleep(POLL_SECONDS)
        if described["Status"] == "FAILED":
            cloudformation.delete_change_set(**change_set)
            reason = described.get("StatusReason", "")
            if "didn't contain changes" in reason or "No updates" in reason:
                return False
            raise DeployError(f"CloudFormation does not take the template: {reason}")
        cloudformation.execute_change_set(**change_set)
        return True

    def _make_code_bucket(self) -> None:
        s3 = self.client("s3")
        # S3 rejects us-east-1 as a location constraint.
        location: dict[str, Any] = {}
        if self.region != "us-east-1":
            location = {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
        try:
            s3.create_bucket(Bucket=self.code_bucket, **location)
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
        """Deletes the stack with all resources. Its buckets are emptied of every version first."""
        if self.status() is not None:
            for bucket in self._buckets():
                self._empty(bucket)
            self._delete_stack(progress)
        if self._empty(self.code_bucket):
            self.client("s3").delete_bucket(Bucket=self.code_bucket)

    def _buckets(self) -> list[str]:
        return [
            resource["PhysicalResourceId"]
            for resource in self._resources()
            if resource["ResourceType"] == "AWS::S3::Bucket"
        ]

    def _resources(self) -> list[dict[str, Any]]:
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        return [
            resource
            for page in pages.paginate(StackName=self.name)
            for resource in page["StackResourceSummaries"]
            if resource["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    def _empty(self, bucket: str) -> bool:
        """Deletes every version of every object. False if there is no such bucket."""
        s3 = self.client("s3")
        try:
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                objects = [
                    {"Key": each["Key"], "VersionId": each["VersionId"]} for each in versions
                ]
                if objects:
                    s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchBucket":
                return False
            raise
        return True

    def _delete_stack(self, progress: Progress) -> None:
        total, last_event = len(self._resources()), self._newest_event()
        self.client("cloudformation").delete_stack(StackName=self.name)
        self._wait(progress, last_event, total=total, is_deletion=True)

    def _wait(
        self, progress: Progress, last_event: str | None, *, total: int, is_deletion: bool = False
    ) -> None:
        """Follows the stack's events after `last_event` until the change is complete. Raises
        DeployError with what failed.
        """
        seen: set[str] = set()
        done: set[str] = set()
        failures: list[str] = []
        while (status := self.status()) is not None:
            for event in self._events_since(last_event):
                if event["EventId"] in seen:
                    continue
                seen.add(event["EventId"])
                name, state = event["LogicalResourceId"], event["ResourceStatus"]
                if state.endswith("_COMPLETE") and name != self.name:
                    done.add(name)
                if state.endswith("_FAILED") and "cancelled" not in _reason(event):
                    failures.append(f"{name} ({event['ResourceType']}): {_reason(event)}")
                progress(f"{name} {state.lower().replace('_', ' ')}", len(done), total)
            if not status.endswith("_IN_PROGRESS"):
                break
            time.sleep(POLL_SECONDS)
        if status in (None, "DELETE_COMPLETE") and is_deletion:
            return
        if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            causes = "\n".join(f"  {failure}" for failure in failures) or "  no resource says why"
            raise DeployError(f"The stack {self.name} is in {status}. What failed:\n{causes}")

    def _newest_event(self) -> str | None:
        try:
            events = self.client("cloudformation").describe_stack_events(StackName=self.name)
        except ClientError:
            return None
        return events["StackEvents"][0]["EventId"] if events["StackEvents"] else None

    def _events_since(self, event_id: str | None) -> list[Mapping[str, Any]]:
        """Oldest first. Empty if the stack has been deleted meanwhile."""
        events: list[Mapping[str, Any]] = []
        pages = self.client("cloudformation").get_paginator("describe_stack_events")
        try:
            for page in pages.paginate(StackName=self.name):
                for event in page["StackEvents"]:
                    if event["EventId"] == event_id:
                        return events[::-1]
                    events.append(event)
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
        return events[::-1]


def _reason(event: Mapping[str, Any]) -> str:
    return str(event.get("ResourceStatusReason", "no reason given"))
