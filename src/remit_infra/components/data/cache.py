"""Redis in ElastiCache: TLS, encrypted, and opened by a role instead of a password.

A task proves who it is by a request that its role has signed (ElastiCache, "Authenticating with
IAM"), so there is no secret to keep or to rotate.
"""

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Ground
from remit_infra.components.network.egress import EgressOnlyNetwork
from remit_infra.components.network.network import REDIS, allow
from remit_infra.model.permissions import CACHE_ACCESS

VERSION, FAMILY = "7.1", "redis7"
SNAPSHOT_DAYS = 1
SNAPSHOT_WINDOW, MAINTENANCE_WINDOW = "02:00-03:00", "sun:06:00-sun:07:00"
USER = "payment-cache"
LOGS = ("slow-log", "engine-log")


class Cache(pulumi.ComponentResource):
    """A primary node, and replicas in other zones, one of which takes over when it fails."""

    def __init__(
        self,
        ground: Ground,
        network: EgressOnlyNetwork,
        *,
        clients: aws.ec2.SecurityGroup,
        node: str,
        replicas: int,
    ) -> None:
        super().__init__("remit:cache:Cache", "cache")
        self._ground = ground
        self._under = pulumi.ResourceOptions(parent=self)
        names = ground.names
        group = network.group("payment-cache-sg", "Cache: Redis from the tasks")
        allow("payment-cache-redis", to=group, source=clients, port=REDIS)
        if replicas:
            allow("payment-cache-replicas", to=group, source=group, port=REDIS)
        subnets = aws.elasticache.SubnetGroup(
            "payment-cache-subnets",
            name=names("subnet group", "payment-cache-subnets"),
            subnet_ids=[subnet.id for subnet in network.data],
            opts=self._under,
        )
        self.name = names("cache", "payment-cache")
        self.user = self._user()
        self.group = aws.elasticache.ReplicationGroup(
            "payment-cache",
            replication_group_id=self.name,
            description="Rate limits, sessions and cached reads",
            engine="redis",
            engine_version=VERSION,
            auto_minor_version_upgrade=True,
            parameter_group_name=self._parameters().name,
            node_type=node,
            num_cache_clusters=1 + replicas,
            automatic_failover_enabled=replicas > 0,
            multi_az_enabled=replicas > 0,
            port=REDIS,
            network_type="dual_stack",
            ip_discovery="ipv6",
            subnet_group_name=subnets.name,
            security_group_ids=[group.id],
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            at_rest_encryption_enabled=True,
            kms_key_id=ground.key.arn,
            user_group_ids=[self._users().id],
            snapshot_retention_limit=SNAPSHOT_DAYS,
            snapshot_window=SNAPSHOT_WINDOW,
            maintenance_window=MAINTENANCE_WINDOW,
            log_delivery_configurations=[self._log(kind) for kind in LOGS],
            apply_immediately=True,
            opts=self._under,
        )
        self.register_outputs({"endpoint": self.group.primary_endpoint_address})

    @property
    def endpoint(self) -> pulumi.Output[str]:
        return pulumi.Output.concat(self.group.primary_endpoint_address, f":{REDIS}")

    def _parameters(self) -> aws.elasticache.ParameterGroup:
        """When memory runs out, what would go soonest anyway goes first: all of it can."""
        return aws.elasticache.ParameterGroup(
            "payment-cache-parameters",
            name=self._ground.names("parameter group", "payment-cache-parameters"),
            family=FAMILY,
            parameters=[{"name": "maxmemory-policy", "value": "volatile-ttl"}],
            opts=self._under,
        )

    def _user(self) -> aws.elasticache.User:
        """With IAM, a user's name is its id."""
        name = self._ground.names("cache user", USER)
        return aws.elasticache.User(
            "payment-cache-user",
            user_id=name,
            user_name=name,
            engine="redis",
            access_string=CACHE_ACCESS,
            authentication_mode={"type": "iam"},
            opts=self._under,
        )

    def _users(self) -> aws.elasticache.UserGroup:
        """A group must have a user `default`; this one may do nothing, and nobody is it."""
        nobody = aws.elasticache.User(
            "payment-cache-nobody",
            user_id=self._ground.names("cache user", "payment-nobody"),
            user_name="default",
            engine="redis",
            access_string="off -@all",
            authentication_mode={"type": "no-password-required"},
            opts=self._under,
        )
        return aws.elasticache.UserGroup(
            "payment-cache-users",
            user_group_id=self._ground.names("cache user", "payment-users"),
            engine="redis",
            user_ids=[nobody.user_id, self.user.user_id],
            opts=self._under,
        )

    def _log(self, kind: str) -> aws.elasticache.ReplicationGroupLogDeliveryConfigurationArgsDict:
        name = f"/aws/elasticache/{self.name}/{kind}"
        group = self._ground.log_group(f"payment-cache-{kind}", name, self._under)
        return {
            "log_type": kind,
            "log_format": "json",
            "destination_type": "cloudwatch-logs",
            "destination": group.name,
        }
