"""What can go wrong with what is kept: keys, roles, buckets, queues, databases, the cache."""

import json
from typing import Any

import msgspec

from remit_infra.graph.graph import Graph
from tests.infra.graphs import CERTIFICATE
from tests.infra.mutations.mutation import (
    Mutation,
    altered,
    by_topology,
    giving,
    gone,
    in_text,
    kept,
    within,
    without,
)
from tests.infra.policies import database, keys_and_roles, stacks, storage
from tests.infra.policies.policy import DYNAMODB, EVERY, FARGATE, LAMBDA, POSTGRES, PULUMI

LIFECYCLE = "s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
QUEUE = "sqs/queue:Queue"
ROLE = "iam/rolePolicy:RolePolicy"
RDS, AURORA = "rds/instance:Instance", "rds/cluster:Cluster"
CACHE = "elasticache/replicationGroup:ReplicationGroup"
NO_STATEMENT = json.dumps({"Statement": []})
QUEUED = (DYNAMODB, FARGATE)
OPERATORS = {
    DYNAMODB: "payment-validation",
    POSTGRES: "payment-validator",
    FARGATE: "payment-worker",
}


def first_statement(**changes: Any) -> Any:
    """A role of the topology with another first statement."""
    change = in_text("policy", within("Statement", change=giving(**changes)))
    return by_topology({t: altered(ROLE, role, change) for t, role in OPERATORS.items()})


def without_statement(role: str, sid: str) -> Any:
    def change(policy: dict[str, Any]) -> dict[str, Any]:
        left = [one for one in policy["Statement"] if one["Sid"] != sid]
        assert len(left) < len(policy["Statement"])
        return policy | {"Statement": left}

    return altered(ROLE, role, in_text("policy", change))


def of_database(change: Any) -> Any:
    return by_topology({POSTGRES: altered(RDS, "", change), FARGATE: altered(AURORA, "", change)})


def less_outputs(graph: Graph) -> Graph:
    outputs = dict(list(graph.outputs.items())[1:])
    return msgspec.structs.replace(graph, outputs=outputs)


MUTATIONS = {
    "a key that never changes": Mutation(
        keys_and_roles.keys_rotate_and_have_policies_and_aliases,
        EVERY,
        altered("kms/key:Key", "data-key", without("enableKeyRotation")),
    ),
    "a key for signatures that encrypts": Mutation(
        keys_and_roles.keys_rotate_and_have_policies_and_aliases,
        EVERY,
        altered("kms/key:Key", "audit", giving(keyUsage="ENCRYPT_DECRYPT")),
    ),
    "a key without an alias": Mutation(
        keys_and_roles.keys_rotate_and_have_policies_and_aliases,
        EVERY,
        altered("kms/alias:Alias", "cards", gone),
    ),
    "a role that may do everything": Mutation(
        keys_and_roles.no_role_may_do_everything,
        EVERY,
        first_statement(Action=["s3:*"], Resource=["*"]),
    ),
    "a role that may do its part to anything": Mutation(
        keys_and_roles.no_role_may_do_everything,
        EVERY,
        first_statement(Resource="*"),
    ),
    "a function whose role may not trace": Mutation(
        keys_and_roles.lambda_may_do_its_part_for_every_function,
        LAMBDA,
        by_topology({t: without_statement(OPERATORS[t], "Trace") for t in LAMBDA}),
    ),
    "a stream that may not be read": Mutation(
        keys_and_roles.lambda_may_do_its_part_for_every_function,
        (DYNAMODB,),
        without_statement("payment-delivery", "ReadStream"),
    ),
    "a task that may not open the cache": Mutation(
        keys_and_roles.tasks_may_open_the_cache_and_send_traces,
        (FARGATE,),
        without_statement("payment-api", "ConnectCache"),
    ),
    "a bucket that stays": Mutation(
        stacks.nothing_is_kept_when_the_stack_goes, EVERY, kept("s3/bucket:Bucket")
    ),
    "a log group that stays": Mutation(
        stacks.nothing_is_kept_when_the_stack_goes,
        PULUMI,
        altered("cloudwatch/logGroup:LogGroup", "", giving(skipDestroy=True)),
    ),
    "a database that is protected outside of prod": Mutation(
        stacks.nothing_is_kept_when_the_stack_goes,
        PULUMI,
        of_database(giving(deletionProtection=True)),
    ),
    "a bucket that cannot be destroyed": Mutation(
        stacks.what_holds_data_can_be_destroyed_with_it,
        PULUMI,
        altered("s3/bucket:Bucket", "audit", without("forceDestroy")),
    ),
    "a repository that cannot be destroyed": Mutation(
        stacks.what_holds_data_can_be_destroyed_with_it,
        (FARGATE,),
        altered("ecr/repository:Repository", "", without("forceDelete")),
    ),
    "a resource without tags": Mutation(
        stacks.everything_is_tagged,
        EVERY,
        by_topology(
            {
                DYNAMODB: altered(QUEUE, "", giving(tags={"Name": "x"})),
                POSTGRES: altered("ec2/vpc:Vpc", "", giving(tags={"Name": "payment-vpc"})),
                FARGATE: altered(
                    "ecs/cluster:Cluster", "", giving(tags={"Name": "payment-cluster"})
                ),
            }
        ),
    ),
    "an output that is not given": Mutation(stacks.callers_get_the_outputs, EVERY, less_outputs),
    "versions that are never deleted": Mutation(
        storage.buckets_are_private_versioned_and_forget,
        EVERY,
        altered(LIFECYCLE, "audit", within("rules", change=without("noncurrentVersionExpiration"))),
    ),
    "a trail that is deleted early": Mutation(
        storage.buckets_are_private_versioned_and_forget,
        EVERY,
        altered(LIFECYCLE, "audit", within("rules", change=giving(expiration={"days": 30}))),
    ),
    "a bucket that may be public": Mutation(
        storage.buckets_are_private_versioned_and_forget,
        EVERY,
        altered(
            "s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
            "audit",
            giving(restrictPublicBuckets=False),
        ),
    ),
    "a table without recovery": Mutation(
        storage.the_table_is_recoverable_encrypted_and_tells_what_changed,
        (DYNAMODB,),
        altered("dynamodb/table:Table", "", without("pointInTimeRecoverySpecification")),
    ),
    "a topic that is not encrypted": Mutation(
        storage.queues_and_topics_are_encrypted_with_the_customers_key,
        EVERY,
        altered("sns/topic:Topic", "payment-alarms", without("kmsMasterKeyId")),
    ),
    "a queue that gives nothing up": Mutation(
        storage.failed_work_is_kept, QUEUED, altered(QUEUE, "", without("redrivePolicy"))
    ),
    "a queue that hands out what is being worked on": Mutation(
        storage.failed_work_is_kept, QUEUED, altered(QUEUE, "", giving(visibilityTimeoutSeconds=30))
    ),
    "a topic that answers without TLS": Mutation(
        storage.only_tls_is_spoken,
        EVERY,
        altered("sns/topicPolicy:TopicPolicy", "", giving(policy=NO_STATEMENT)),
    ),
    "a queue that takes requests without TLS": Mutation(
        storage.only_tls_is_spoken,
        QUEUED,
        altered("sqs/queuePolicy:QueuePolicy", "", giving(policy=NO_STATEMENT)),
    ),
    "a bucket that takes requests without TLS": Mutation(
        storage.only_tls_is_spoken,
        EVERY,
        altered("s3/bucketPolicy:BucketPolicy", "audit", giving(policy=NO_STATEMENT)),
    ),
    "a public database": Mutation(
        database.the_instance_is_backed_up_and_in_two_zones,
        (POSTGRES,),
        altered(RDS, "", giving(publiclyAccessible=True)),
    ),
    "a public instance of the cluster": Mutation(
        database.the_cluster_is_backed_up_and_scaled,
        (FARGATE,),
        altered("rds/clusterInstance:ClusterInstance", "", giving(publiclyAccessible=True)),
    ),
    "a database that is not encrypted": Mutation(
        database.the_database_is_private_encrypted_and_speaks_tls,
        PULUMI,
        of_database(giving(storageEncrypted=False)),
    ),
    "a password in the program": Mutation(
        database.the_database_is_private_encrypted_and_speaks_tls,
        PULUMI,
        by_topology(
            {
                POSTGRES: altered(RDS, "", giving(password=CERTIFICATE)),
                FARGATE: altered(AURORA, "", giving(masterPassword=CERTIFICATE)),
            }
        ),
    ),
    "TLS that is not forced": Mutation(
        database.the_database_is_private_encrypted_and_speaks_tls,
        PULUMI,
        by_topology(
            {
                POSTGRES: altered("rds/parameterGroup:ParameterGroup", "", giving(parameters=[])),
                FARGATE: altered(
                    "rds/clusterParameterGroup:ClusterParameterGroup", "", giving(parameters=[])
                ),
            }
        ),
    ),
    "a database that pauses in staging": Mutation(
        database.the_cluster_is_backed_up_and_scaled,
        (FARGATE,),
        altered(
            AURORA,
            "",
            giving(serverlessv2ScalingConfiguration={"minCapacity": 0, "maxCapacity": 8}),
        ),
    ),
    "a cache without TLS": Mutation(
        database.the_cache_is_closed_and_encrypted,
        (FARGATE,),
        altered(CACHE, "", giving(transitEncryptionEnabled=False)),
    ),
    "a cache without authentication": Mutation(
        database.the_cache_is_closed_and_encrypted,
        (FARGATE,),
        altered(CACHE, "", without("userGroupIds")),
    ),
    "a cache user that may do everything": Mutation(
        database.the_cache_is_closed_and_encrypted,
        (FARGATE,),
        altered("elasticache/user:User", "payment-cache-user", giving(accessString="on ~* +@all")),
    ),
}
