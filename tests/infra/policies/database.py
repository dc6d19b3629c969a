"""The databases and the cache: private, encrypted, backed up."""

from collections.abc import Iterator, Mapping
from typing import Any

from remit_infra.graph.graph import Graph, references
from remit_infra.model.environments import environment_of
from tests.infra.graphs import of, one
from tests.infra.policies.keys_and_roles import data_key
from tests.infra.policies.network import is_multi_az
from tests.infra.policies.policy import FARGATE, POSTGRES, PULUMI, policy


def differing(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    for name, value in wanted.items():
        if given.get(name) != value:
            yield f"{name} is {given.get(name)}"


def database_of(graph: Graph) -> dict[str, Any]:
    kind = "instance:Instance" if graph.topology == POSTGRES else "cluster:Cluster"
    return one(graph, f"rds/{kind}", "payment-db")


@policy(*PULUMI)
def the_database_is_private_encrypted_and_speaks_tls(graph: Graph) -> Iterator[str]:
    given = database_of(graph)
    yield from differing(
        given,
        {
            "storageEncrypted": True,
            "manageMasterUserPassword": True,
            "skipFinalSnapshot": True,
            "deleteAutomatedBackups": True,
            "deletionProtection": graph.suffix == "prod",
        },
    )
    if {"password", "masterPassword"} & given.keys():
        yield "the password is in the program"
    for name in ("kmsKeyId", "masterUserSecretKmsKeyId"):
        if references(given.get(name, "")) != data_key(graph):
            yield f"{name} is not the customer's key"
    tier = "private" if graph.topology == POSTGRES else "data"
    subnets = one(graph, "rds/subnetGroup:SubnetGroup", "payment-db-subnets")
    wanted = {s.name for s in of(graph, "ec2/subnet:Subnet") if f"-{tier}-subnet-" in s.name}
    if references(subnets) != wanted:
        yield f"it is not in the {tier} subnets"
    kind = "parameterGroup:ParameterGroup"
    if graph.topology == FARGATE:
        kind = "clusterParameterGroup:ClusterParameterGroup"
    parameters = one(graph, f"rds/{kind}", "payment-db-parameters")
    if {"name": "rds.force_ssl", "value": "1"} not in parameters["parameters"]:
        yield "TLS is not forced"


@policy(POSTGRES)
def the_instance_is_backed_up_and_in_two_zones(graph: Graph) -> Iterator[str]:
    given = database_of(graph)
    yield from differing(
        given,
        {
            "engine": "postgres",
            "dbName": "payments",
            "multiAz": True,
            "publiclyAccessible": False,
            "autoMinorVersionUpgrade": True,
            "backupRetentionPeriod": 7,
            "performanceInsightsEnabled": True,
            "monitoringInterval": 60,
        },
    )
    if not str(given["engineVersion"]).startswith("14"):
        yield "it is not PostgreSQL 14"
    if references(given.get("performanceInsightsKmsKeyId", "")) != data_key(graph):
        yield "performanceInsightsKmsKeyId is not the customer's key"
    if not {"backupWindow", "maintenanceWindow", "monitoringRoleArn"} <= given.keys():
        yield "it has no windows or nobody monitors it"


@policy(FARGATE)
def the_cluster_is_backed_up_and_scaled(graph: Graph) -> Iterator[str]:
    given = database_of(graph)
    size = environment_of(graph.suffix).fargate
    yield from differing(
        given,
        {
            "engine": "aurora-postgresql",
            "databaseName": "payments",
            "networkType": "DUAL",
            "backupRetentionPeriod": size.backup_days,
        },
    )
    scaling = given.get("serverlessv2ScalingConfiguration", {})
    if (scaling.get("minCapacity"), scaling.get("maxCapacity")) != size.capacity_units:
        yield "it is scaled between other limits"
    if (scaling.get("minCapacity") == 0) is not ("secondsUntilAutoPause" in scaling):
        yield "it pauses where it should not, or does not where it should"
    instances = of(graph, "rds/clusterInstance:ClusterInstance")
    if len(instances) != 1 + is_multi_az(graph):
        yield f"it has {len(instances)} instances"
    if len({i.properties["availabilityZone"] for i in instances}) != len(instances):
        yield "its instances share a zone"
    for instance in instances:
        told = instance.properties
        if told["publiclyAccessible"] or not told["performanceInsightsEnabled"]:
            yield f"{instance.name} is public or not looked into"


@policy(FARGATE)
def the_cache_is_closed_and_encrypted(graph: Graph) -> Iterator[str]:
    given = one(graph, "elasticache/replicationGroup:ReplicationGroup", "payment-cache")
    yield from differing(
        given,
        {
            "transitEncryptionEnabled": True,
            "transitEncryptionMode": "required",
            "atRestEncryptionEnabled": True,
            "snapshotRetentionLimit": 1,
            "automaticFailoverEnabled": is_multi_az(graph),
            "multiAzEnabled": is_multi_az(graph),
            "numCacheClusters": 1 + is_multi_az(graph),
        },
    )
    if not str(given.get("engineVersion")).startswith("7"):
        yield "it is not Redis 7"
    if references(given.get("userGroupIds", [])) != {"payment-cache-users"} or "authToken" in given:
        yield "it asks nobody who they are, or knows them by a password"
    if references(given.get("kmsKeyId", "")) != data_key(graph):
        yield "it is not encrypted with the customer's key"
    for user in of(graph, "elasticache/user:User"):
        access = user.properties["accessString"]
        if "@all" in access and "-@all" not in access:
            yield f"{user.name} may do everything"
        if "passwords" in user.properties:
            yield f"{user.name} has a password in the program"
