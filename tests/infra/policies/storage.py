"""Buckets, tables, queues and topics: encrypted, kept for their time, asked over TLS alone."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from remit_infra.graph.graph import Graph, references
from tests.infra.graphs import of, one
from tests.infra.policies.keys_and_roles import data_key
from tests.infra.policies.policy import DYNAMODB, EVERY, FARGATE, POSTGRES, policy

BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
TRAIL_DAYS = {DYNAMODB: 400, POSTGRES: 90, FARGATE: 400}
REQUEST_SECONDS = 28
"""How long a function may take over a message."""

POLICIES_BY_KIND = {
    "s3/bucket:Bucket": "s3/bucketPolicy:BucketPolicy",
    "sqs/queue:Queue": "sqs/queuePolicy:QueuePolicy",
    "sns/topic:Topic": "sns/topicPolicy:TopicPolicy",
}


def beside(graph: Graph, bucket: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """What the program says of a bucket in a resource of that kind; empty if there is none."""
    found = [
        r
        for r in of(graph, kind)
        if r.properties["bucket"] == bucket.get("bucket", bucket.get("bucketName"))
    ]
    return found[0].properties if found else {}


BUCKETS = {DYNAMODB: 1, POSTGRES: 2, FARGATE: 2}
"""How many there are: for the audit trail, and for access logs where there is a load balancer."""


@policy(*EVERY)
def buckets_are_private_versioned_and_forget(graph: Graph) -> Iterator[str]:
    buckets = of(graph, "s3/bucket:Bucket")
    if len(buckets) != BUCKETS[graph.topology]:
        yield f"there are {len(buckets)} buckets"
    for bucket in buckets:
        name, given = bucket.name, bucket.properties
        versions = beside(graph, given, "s3/bucketVersioning:BucketVersioning")
        if versions.get("versioningConfiguration", {}).get("status") != "Enabled":
            yield f"{name} keeps no versions"
        block = beside(graph, given, "s3/bucketPublicAccessBlock:BucketPublicAccessBlock")
        if not all(block.get(one) for one in BLOCKS):
            yield f"{name} may be public"
        lifecycle = "s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
        rules = beside(graph, given, lifecycle).get("rules", [])
        for what in ("expiration", "noncurrentVersionExpiration"):
            if not any(what in rule for rule in rules):
                yield f"{name} has no {what}"
        encryption = (
            "s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
        )
        encrypted = beside(graph, given, encryption)
        if not encrypted:
            yield f"{name} is not encrypted"
        if "audit" in name:
            [rule] = rules or [{}]
            current = rule.get("expiration", {}).get("days")
            earlier = rule.get("noncurrentVersionExpiration", {}).get("noncurrentDays")
            if {current, earlier} != {TRAIL_DAYS[graph.topology]}:
                yield f"the trail is kept for {current} days, versions for {earlier}"
            if references(encrypted) != data_key(graph):
                yield "the trail is not encrypted with the customer's key"


@policy(DYNAMODB)
def the_table_is_recoverable_encrypted_and_tells_what_changed(graph: Graph) -> Iterator[str]:
    for table in of(graph, "dynamodb/table:Table"):
        name, given = table.name, table.properties
        recovery = given.get("pointInTimeRecoverySpecification", {})
        if recovery.get("pointInTimeRecoveryEnabled") is not True:
            yield f"{name} has no point-in-time recovery"
        if given.get("sSESpecification", {}).get("sSEType") != "KMS":
            yield f"{name} is not encrypted with our key"
        if given.get("billingMode") != "PAY_PER_REQUEST" or "streamSpecification" not in given:
            yield f"{name} is not on demand, or has no stream"


@policy(*EVERY)
def queues_and_topics_are_encrypted_with_the_customers_key(graph: Graph) -> Iterator[str]:
    for kind in ("sqs/queue:Queue", "sns/topic:Topic"):
        for resource in of(graph, kind):
            if references(resource.properties.get("kmsMasterKeyId", "")) != data_key(graph):
                yield f"{resource.name} is not encrypted with the customer's key"


@policy(*EVERY)
def only_tls_is_spoken(graph: Graph) -> Iterator[str]:
    for kind, policies in POLICIES_BY_KIND.items():
        refused = {
            name
            for found in of(graph, policies)
            for statement in json.loads(found.properties["policy"])["Statement"]
            if statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
            and statement["Effect"] == "Deny"
            for name in references(statement["Resource"])
        }
        for resource in of(graph, kind):
            if resource.name not in refused:
                yield f"{resource.name} answers without TLS"


@policy(DYNAMODB, FARGATE)
def failed_work_is_kept(graph: Graph) -> Iterator[str]:
    """For long enough to be looked at, and not handed out again while it is being worked on."""
    queues = {queue.name: queue.properties for queue in of(graph, "sqs/queue:Queue")}
    redriving = {name: given for name, given in queues.items() if "redrivePolicy" in given}
    if len(redriving) != 1:
        yield "no queue has a dead-letter queue"
    for name, given in redriving.items():
        redrive = json.loads(given["redrivePolicy"])
        if redrive["maxReceiveCount"] != (5 if graph.topology == DYNAMODB else 3):
            yield f"{name} gives up after {redrive['maxReceiveCount']} receives"
        dead = [queues[letter] for letter in references(redrive) & queues.keys()]
        if [letter["messageRetentionSeconds"] for letter in dead] != [1_209_600]:
            yield "dead letters are not kept for 14 days"
        if given["visibilityTimeoutSeconds"] < 6 * REQUEST_SECONDS:
            yield f"{name} hands out again what is still being worked on"
    if graph.topology == FARGATE:
        work = one(graph, "sqs/queue:Queue", "payment-queue")
        if (work["visibilityTimeoutSeconds"], work["messageRetentionSeconds"]) != (300, 345_600):
            yield "the queue hides or keeps messages for another time"
