"""What the topology promises, as checks over its template. Each names what breaks it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from remit.settings import read_settings
from remit_infra.model.alarms import ALARMS
from remit_infra.model.service_env import DYNAMODB_SETTINGS
from tests.tidy.tree import ROOT

Template = dict[str, Any]
Promise = Callable[["View"], Iterator[str]]

REQUEST_FUNCTIONS = ("validation", "processing", "health")
TAGS = {"Environment", "ManagedBy", "MigrationDate", "Name", "Project"}
UNTAGGABLE = frozenset(
    {
        "AWS::ApiGateway::Deployment",
        "AWS::ApiGateway::GatewayResponse",
        "AWS::ApiGateway::Method",
        "AWS::ApiGateway::Model",
        "AWS::ApiGateway::RequestValidator",
        "AWS::ApiGateway::Resource",
        "AWS::CloudWatch::Dashboard",
        "AWS::IAM::ManagedPolicy",
        "AWS::KMS::Alias",
        "AWS::Lambda::Permission",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Subscription",
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::QueuePolicy",
        "AWS::WAFv2::LoggingConfiguration",
        "AWS::WAFv2::WebACLAssociation",
    }
)
"""Types that CloudFormation takes no tags for, or none from the CDK (dashboards, policies)."""

SCOPES = frozenset(
    {
        *("api", "function", "request function", "monitor", "stream function", "table", "queue"),
        *("dead letters", "topic", "service"),
    }
)
"""Those of the alarm table's scopes that this topology has something of."""

STREAM_ACTIONS = {
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
}
QUEUE_ACTIONS = {"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"}
"""What Lambda asks of the role before it reads a stream or a queue for a function."""


class View:
    """A template by type of resource."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self.resources: dict[str, dict[str, Any]] = template["Resources"]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of every resource of a type, by logical id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def role_of(self, function: dict[str, Any]) -> str:
        return str(function["Role"]["Fn::GetAtt"][0])

    def statements(self, role: str) -> list[dict[str, Any]]:
        return [
            statement
            for policy in self.of("AWS::IAM::ManagedPolicy").values()
            if {"Ref": role} in policy["Roles"]
            for statement in policy["PolicyDocument"]["Statement"]
        ]

    def actions(self, role: str) -> set[str]:
        return {action for one in self.statements(role) for action in _listed(one["Action"])}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def everything_is_tagged(view: View) -> Iterator[str]:
    for name, resource in view.resources.items():
        if resource["Type"] not in UNTAGGABLE:
            tags = resource.get("Properties", {}).get("Tags", [])
            keys = {tag["Key"] for tag in tags} if isinstance(tags, list) else set(tags)
            if not keys >= TAGS:
                yield f"{name} lacks {sorted(TAGS - keys)}"


def everything_can_be_destroyed(view: View) -> Iterator[str]:
    for name, resource in view.resources.items():
        if resource.get("DeletionPolicy", "Delete") != "Delete":
            yield f"{name} is {resource['DeletionPolicy']}"


def keys_rotate(view: View) -> Iterator[str]:
    for name, key in view.of("AWS::KMS::Key").items():
        if (
            not key.get("KeySpec", "").startswith("HMAC")
            and key.get("EnableKeyRotation") is not True
        ):
            yield f"{name} does not rotate"


def each_function_has_its_own_role_log_group_trace_and_limit(view: View) -> Iterator[str]:
    functions = view.of("AWS::Lambda::Function")
    groups = view.of("AWS::Logs::LogGroup")
    roles = [view.role_of(function) for function in functions.values()]
    if len(set(roles)) != len(functions):
        yield "two functions share a role"
    for name, function in functions.items():
        group = groups.get(function.get("LoggingConfig", {}).get("LogGroup", {}).get("Ref", ""))
        if group is None or group["LogGroupName"] != f"/aws/lambda/{function['FunctionName']}":
            yield f"{name} writes to no log group of its own"
        if function.get("TracingConfig") != {"Mode": "Active"}:
            yield f"{name} is not traced"
        if not function.get("ReservedConcurrentExecutions"):
            yield f"{name} has no concurrency limit"
        module = function["Handler"].split(".")[-2]
        if module in REQUEST_FUNCTIONS and function["Timeout"] >= 29:
            yield f"{name} may outlast API Gateway"
        needed = {
            *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
            *("logs:CreateLogStream", "logs:PutLogEvents"),
        }
        if not view.actions(view.role_of(function)) >= needed:
            yield f"{name} may not trace or log"


def functions_are_told_everything(view: View) -> Iterator[str]:
    for name, function in view.of("AWS::Lambda::Function").items():
        variables = function["Environment"]["Variables"]
        texts = {
            key: value if isinstance(value, str) else "set" for key, value in variables.items()
        }
        settings = read_settings(texts)
        missing = sorted(field for field in DYNAMODB_SETTINGS if getattr(settings, field) is None)
        if missing:
            yield f"{name} is not told {missing}"
        if "health" in function["Handler"] and settings.monitored_metrics is None:
            yield f"{name} watches nothing"


def wildcards_have_reasons(view: View) -> Iterator[str]:
    allowed = {"xray:PutTraceSegments", "xray:PutTelemetryRecords", "cloudwatch:GetMetricData"}
    for name, policy in view.of("AWS::IAM::ManagedPolicy").items():
        for statement in policy["PolicyDocument"]["Statement"]:
            actions = set(_listed(statement["Action"]))
            if any("*" in action for action in actions):
                yield f"{name} allows {sorted(actions)}"
            if "*" in _listed(statement["Resource"]) and not actions <= allowed:
                yield f"{name} allows {sorted(actions)} on everything"


def event_sources_report_partial_batches_and_may_be_read(view: View) -> Iterator[str]:
    functions = view.of("AWS::Lambda::Function")
    for name, source in view.of("AWS::Lambda::EventSourceMapping").items():
        if source.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
            yield f"{name} takes a batch as a whole"
        needed = STREAM_ACTIONS if "StartingPosition" in source else QUEUE_ACTIONS
        role = view.role_of(functions[source["FunctionName"]["Ref"]])
        if not view.actions(role) >= needed:
            yield f"{name} may not be read"


def the_api_is_throttled_traced_and_logged(view: View) -> Iterator[str]:
    groups = view.of("AWS::Logs::LogGroup")
    for name, stage in view.of("AWS::ApiGateway::Stage").items():
        [settings] = stage.get("MethodSettings", [{}])
        limits = (settings.get("ThrottlingRateLimit"), settings.get("ThrottlingBurstLimit"))
        if limits != (1_000, 2_000):
            yield f"{name} is not throttled"
        if stage.get("TracingEnabled") is not True:
            yield f"{name} is not traced"
        logged = json.dumps(stage.get("AccessLogSetting", {}).get("DestinationArn", ""))
        if not any(f'"{group}"' in logged for group in groups):
            yield f"{name} has no access log"


def bodies_are_validated_by_a_model(view: View) -> Iterator[str]:
    for name, method in view.of("AWS::ApiGateway::Method").items():
        if method["HttpMethod"] != "POST":
            continue
        validator = method.get("RequestValidatorId", {}).get("Ref")
        found = view.of("AWS::ApiGateway::RequestValidator").get(validator or "", {})
        if found.get("ValidateRequestBody") is not True or not method.get("RequestModels"):
            yield f"{name} validates nothing"


def a_change_of_a_method_reaches_the_stage(view: View) -> Iterator[str]:
    methods = set(view.of("AWS::ApiGateway::Method"))
    stages = view.of("AWS::ApiGateway::Stage").values()
    deployments = {stage["DeploymentId"]["Ref"] for stage in stages}
    for name in view.of("AWS::ApiGateway::Deployment"):
        if name not in deployments:
            yield f"{name} is on no stage"
        if not methods <= set(view.resources[name].get("DependsOn", [])):
            yield f"{name} is made before its methods"


def every_log_group_is_written_to_and_ends(view: View) -> Iterator[str]:
    rest = {n: r for n, r in view.resources.items() if r["Type"] != "AWS::Logs::LogGroup"}
    used = json.dumps(rest)
    for name, group in view.of("AWS::Logs::LogGroup").items():
        is_execution = "API-Gateway-Execution-Logs_" in json.dumps(group["LogGroupName"])
        if f'"{name}"' not in used and not is_execution:
            yield f"nobody writes to {name}"
        if not group.get("RetentionInDays") or "KmsKeyId" not in group:
            yield f"{name} keeps everything for ever, or plain"


def data_is_kept_safe(view: View) -> Iterator[str]:
    for name, table in view.of("AWS::DynamoDB::Table").items():
        recovery = table.get("PointInTimeRecoverySpecification", {})
        if recovery.get("PointInTimeRecoveryEnabled") is not True:
            yield f"{name} has no point-in-time recovery"
        if table.get("SSESpecification", {}).get("SSEType") != "KMS":
            yield f"{name} is not encrypted with our key"
        if table.get("BillingMode") != "PAY_PER_REQUEST" or "StreamSpecification" not in table:
            yield f"{name} is not on demand, or has no stream"
    for name, bucket in view.of("AWS::S3::Bucket").items():
        if bucket.get("VersioningConfiguration") != {"Status": "Enabled"}:
            yield f"{name} keeps no versions"
        blocked = bucket.get("PublicAccessBlockConfiguration", {})
        if len(blocked) != 4 or not all(blocked.values()):
            yield f"{name} may be public"
        rules = bucket.get("LifecycleConfiguration", {}).get("Rules", [])
        if not any("ExpirationInDays" in rule for rule in rules):
            yield f"{name} never forgets"
        if not any("NoncurrentVersionExpiration" in rule for rule in rules):
            yield f"{name} never forgets earlier versions"
        if "BucketEncryption" not in bucket:
            yield f"{name} is not encrypted"
    for kind, key in (("AWS::SQS::Queue", "KmsMasterKeyId"), ("AWS::SNS::Topic", "KmsMasterKeyId")):
        for name, properties in view.of(kind).items():
            if key not in properties:
                yield f"{name} is not encrypted with our key"


def only_tls_is_spoken(view: View) -> Iterator[str]:
    for kind, policies in (
        ("AWS::S3::Bucket", "AWS::S3::BucketPolicy"),
        ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy"),
        ("AWS::SNS::Topic", "AWS::SNS::TopicPolicy"),
    ):
        refusing = json.dumps(
            [
                policy
                for policy in view.of(policies).values()
                if '"aws:SecureTransport": "false"' in json.dumps(policy)
            ]
        )
        for name in view.of(kind):
            if f'"{name}"' not in refusing:
                yield f"{name} answers without TLS"


def failed_work_has_a_dead_letter_queue(view: View) -> Iterator[str]:
    queues = view.of("AWS::SQS::Queue")
    redriving = {n: q["RedrivePolicy"] for n, q in queues.items() if "RedrivePolicy" in q}
    if len(redriving) != 1:
        yield "no queue has a dead-letter queue"
    for name, policy in redriving.items():
        if policy["maxReceiveCount"] != 5:
            yield f"{name} does not give up after five receives"
        if queues[name]["VisibilityTimeout"] < 6 * 28:
            yield f"{name} hands out again what is still being worked on"


def every_alarm_tells_and_is_explained(view: View) -> Iterator[str]:
    topics = view.of("AWS::SNS::Topic")
    runbook = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    alarms = view.of("AWS::CloudWatch::Alarm")
    for name, alarm in alarms.items():
        for actions in ("AlarmActions", "OKActions"):
            if [action.get("Ref") in topics for action in alarm.get(actions, [])] != [True]:
                yield f"{name} has no {actions}"
        if "TreatMissingData" not in alarm:
            yield f"{name} does not say what missing data means"
        entry = alarm["AlarmDescription"].rpartition("docs/runbook.md, ")[2].removesuffix(".")
        if f"\n## {entry}\n" not in runbook:
            yield f"the runbook has no entry {entry}"
    explained = {
        a["AlarmDescription"].rpartition(", ")[2].removesuffix(".") for a in alarms.values()
    }
    for row in ALARMS:
        if row.scope in SCOPES and row.runbook not in explained:
            yield f"there is no alarm {row.runbook}"


def callers_get_the_outputs(view: View) -> Iterator[str]:
    expected = {"APIEndpoint", "TransactionsTableName", "AlarmTopicArn", "DashboardName"}
    if set(view.template["Outputs"]) != expected:
        yield f"the outputs are {sorted(view.template['Outputs'])}"


PROMISES: tuple[Promise, ...] = (
    everything_is_tagged,
    everything_can_be_destroyed,
    keys_rotate,
    each_function_has_its_own_role_log_group_trace_and_limit,
    functions_are_told_everything,
    wildcards_have_reasons,
    event_sources_report_partial_batches_and_may_be_read,
    the_api_is_throttled_traced_and_logged,
    bodies_are_validated_by_a_model,
    a_change_of_a_method_reaches_the_stage,
    every_log_group_is_written_to_and_ends,
    data_is_kept_safe,
    only_tls_is_spoken,
    failed_work_has_a_dead_letter_queue,
    every_alarm_tells_and_is_explained,
    callers_get_the_outputs,
)


def broken(template: Template) -> dict[str, list[str]]:
    """What each broken promise says of a template."""
    said = {promise.__name__: list(promise(View(template))) for promise in PROMISES}
    return {name: found for name, found in said.items() if found}
