"""What is promised of every program in Pulumi, whatever it runs."""

import json
from collections.abc import Iterator

from remit_infra.graph.graph import Graph, references
from remit_infra.model.permissions import FARGATE_AURORA, LAMBDA_POSTGRES, REGISTRY_LOGIN
from tests.infra.recorded import of, one
from tests.tidy.tree import ROOT

TAGS = {"Environment", "ManagedBy", "MigrationDate", "Name", "Project"}

ON_ANYTHING = {REGISTRY_LOGIN.sid} | {
    one.sid
    for roles in (FARGATE_AURORA, LAMBDA_POSTGRES)
    for statements in roles.values()
    for one in statements
    if one.why_any is not None
}
"""The statements for which `permissions.py` says why no resource can be named."""


def flows_are_logged(graph: Graph) -> Iterator[str]:
    log = one(graph, "ec2/flowLog:FlowLog", "payment-flow-log")
    if log.get("trafficType") != "ALL" or "payment-flow-logs" not in references(log):
        yield "flows are not logged"


def the_audit_bucket_is_kept_and_can_go(graph: Graph) -> Iterator[str]:
    for name in ("payment-audit-logs", "payment-access-logs"):
        if not one(graph, "s3/bucket:Bucket", name).get("forceDestroy"):
            yield f"{name} cannot be destroyed with data in it"
        kind = "s3/bucketVersioning:BucketVersioning"
        versions = one(graph, kind, f"{name}-versioning")
        if versions.get("versioningConfiguration", {}).get("status") != "Enabled":
            yield f"{name} is not versioned"
        kind = "s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
        block = one(graph, kind, f"{name}-private")
        if not all(block.get(f"{verb}Public{what}") for verb, what in _BLOCKS):
            yield f"{name} is not private"
        kind = "s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
        [rule] = one(graph, kind, f"{name}-lifecycle").get("rules", [{}])
        if not ({"expiration", "noncurrentVersionExpiration"} <= rule.keys()):
            yield f"{name} keeps versions for ever"
        policy = one(graph, "s3/bucketPolicy:BucketPolicy", f"{name}-policy").get("policy", "")
        if "aws:SecureTransport" not in policy:
            yield f"{name} takes requests without TLS"
    audit = one(
        graph,
        "s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "payment-audit-logs-lifecycle",
    )
    [rule] = audit["rules"]
    earlier = rule.get("noncurrentVersionExpiration", {}).get("noncurrentDays")
    if (rule["expiration"]["days"], earlier) != (90, 90):
        yield f"the trail is kept for {rule['expiration']['days']} days, versions for {earlier}"
    kind = "s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    if references(one(graph, kind, "payment-audit-logs-encryption")) != {"payment-data-key"}:
        yield "the trail is not encrypted with the customer's key"


_BLOCKS = (("block", "Acls"), ("block", "Policy"), ("ignore", "Acls"))


def keys_rotate_and_have_policies(graph: Graph) -> Iterator[str]:
    for key in of(graph, "kms/key:Key"):
        is_mac = key.properties["keyUsage"] == "GENERATE_VERIFY_MAC"
        if key.properties["enableKeyRotation"] is is_mac:
            yield f"{key.name} does not rotate"
        if not key.properties.get("policy"):
            yield f"{key.name} has no policy"
    if len(of(graph, "kms/alias:Alias")) != len(of(graph, "kms/key:Key")):
        yield "a key has no alias"


def no_role_may_do_everything(graph: Graph) -> Iterator[str]:
    for policy in of(graph, "iam/rolePolicy:RolePolicy"):
        for statement in json.loads(policy.properties["policy"])["Statement"]:
            if any(action.endswith("*") for action in statement["Action"]):
                yield f"{policy.name} allows {statement['Action']}"
            if "*" in statement["Resource"] and statement["Sid"] not in ON_ANYTHING:
                yield f"{policy.name} allows {statement['Sid']} on everything"


def every_alarm_tells_both_ways_and_is_in_the_runbook(graph: Graph) -> Iterator[str]:
    runbook = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    alarms = of(graph, "cloudwatch/metricAlarm:MetricAlarm")
    for alarm in alarms:
        given = alarm.properties
        for actions in ("alarmActions", "okActions"):
            if references(given.get(actions, [])) != {"payment-alarms"}:
                yield f"{alarm.name} has no {actions}"
        if not given.get("treatMissingData"):
            yield f"{alarm.name} does not say what missing data means"
        entry = given["alarmDescription"].rpartition("docs/runbook.md, ")[2].removesuffix(".")
        if f"\n## {entry}\n" not in runbook:
            yield f"the runbook has no entry {entry}"


def alarm_names(graph: Graph) -> set[str]:
    """The alarms there are, without the suffix."""
    alarms = of(graph, "cloudwatch/metricAlarm:MetricAlarm")
    return {alarm.properties["name"].removesuffix(f"-{graph.suffix}") for alarm in alarms}


def everything_is_tagged(graph: Graph) -> Iterator[str]:
    for resource in graph.resources:
        tags = resource.properties.get("tags")
        if tags is not None and set(tags) != TAGS:
            yield f"{resource.name} is tagged {sorted(tags)}"
    if sum("tags" in resource.properties for resource in graph.resources) < 100:
        yield "hardly anything is tagged"


def nothing_is_kept_when_the_stack_goes(graph: Graph) -> Iterator[str]:
    for group in of(graph, "cloudwatch/logGroup:LogGroup"):
        if group.properties.get("skipDestroy"):
            yield f"{group.name} stays"
    protected = one(graph, "lb/loadBalancer:LoadBalancer", "payment-alb")
    if protected.get("enableDeletionProtection", False) is not (graph.suffix == "prod"):
        yield "the load balancer is protected where it should not be"


SHOWN = (
    ("RequestCount", "Sum"),
    ("TargetResponseTime", "p95"),
    ("HTTPCode_Target_5XX_Count", "Sum"),
    ("DatabaseConnections", "Maximum"),
    ("OutboxAge", "Maximum"),
    ("payment_intent.succeeded", "Sum"),
    ("payment_intent.payment_failed", "Sum"),
)
"""Of traffic, latency, errors, the database, what waits, and the business."""


def a_dashboard_shows_what_matters(graph: Graph) -> Iterator[str]:
    given = one(graph, "cloudwatch/dashboard:Dashboard", "payment-dashboard")
    widgets = json.loads(given.get("dashboardBody", '{"widgets": []}'))["widgets"]
    lines = [line for widget in widgets for line in widget["properties"]["metrics"]]
    shown = {(line[1], line[-1]["stat"]) for line in lines}
    yield from (
        f"nobody sees {metric} by {statistic}"
        for metric, statistic in SHOWN
        if (metric, statistic) not in shown
    )


PROMISES = (
    a_dashboard_shows_what_matters,
    flows_are_logged,
    the_audit_bucket_is_kept_and_can_go,
    keys_rotate_and_have_policies,
    no_role_may_do_everything,
    every_alarm_tells_both_ways_and_is_in_the_runbook,
    everything_is_tagged,
    nothing_is_kept_when_the_stack_goes,
)
