"""Redis in ElastiCache: encrypted, with TLS only, and authenticated by IAM instead of a password.

A task logs in with a request that its role has signed (ElastiCache, "Authenticating with IAM"), so
there is no secret to store or to rotate.
"""

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Context
from remit_infra.components.network.egress import EgressOnlyNetwork
from remit_infra.components.network.network import REDIS, allow_traffic
from remit_infra.model.permissions import CACHE_ACCESS

VERSION, FAMILY = "7.1", "redis7"
SNAPSHOT_DAYS = 1
SNAPSHOT_WINDOW, MAINTENANCE_WINDOW = "02:00-03:00", "sun:06:00-sun:07:00"
USER = "payment-cache"
LOGS = ("slow-log", "engine-log")


class ElastiCacheRedis(pulumi.ComponentResource):
    """A primary node and `replicas` in other zones, one of which becomes the primary when it fails.
    Only `clients` reach them.
    """

    def __init__(
        self,
        context: Context,
        network: EgressOnlyNetwork,
        *,
        clients: aws.ec2.SecurityGroup,
        replicas: int,
    ) -> None:
        super().__init__("remit:cache:Cache", "cache")
        self._context = context
        self._child = pulumi.ResourceOptions(parent=self)
        names = context.names
        group = network.security_group("payment-cache-sg", "Cache: Redis from the tasks")
        allow_traffic("payment-cache-redis", source=clients, target=group, port=REDIS)
        if replicas:
            allow_traffic("payment-cache-replicas", source=group, target=group, port=REDIS)
        subnets = aws.elasticache.SubnetGroup(
            "payment-cache-subnets",
            name=names("subnet group", "payment-cache-subnets"),
            subnet_ids=[subnet.id for subnet in network.data],
            opts=self._child,
        )
        self.name = names("cache", "payment-cache")
        self.user = self._user()
        self.replication_group = aws.elasticache.ReplicationGroup(
            "payment-cache",
            replication_group_id=self.name,
            description="Rate limits, sessions and cached reads",
            engine="redis",
            engine_version=VERSION,
            auto_minor_version_upgrade=True,
            parameter_group_name=self._parameter_group().name,
            node_type=names.environment.fargate.cache_node,
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
            kms_key_id=context.key.arn,
            user_group_ids=[self._user_group().id],
            snapshot_retention_limit=SNAPSHOT_DAYS,
            snapshot_window=SNAPSHOT_WINDOW,
            maintenance_window=MAINTENANCE_WINDOW,
            log_delivery_configurations=[self._log_delivery(log) for log in LOGS],
            apply_immediately=True,
            opts=self._child,
        )
        self.register_outputs({"endpoint": self.replication_group.primary_endpoint_address})

    @property
    def endpoint(self) -> pulumi.Output[str]:
        return pulumi.Output.concat(self.replication_group.primary_endpoint_address, f":{REDIS}")

    def _parameter_group(self) -> aws.elasticache.ParameterGroup:
        """Out of memory, Redis evicts the keys that expire soonest. Every key of ours expires."""
        return aws.elasticache.ParameterGroup(
            "payment-cache-parameters",
            name=self._context.names("parameter group", "payment-cache-parameters"),
            family=FAMILY,
            parameters=[{"name": "maxmemory-policy", "value": "volatile-ttl"}],
            opts=self._child,
        )

    def _user(self) -> aws.elasticache.User:
        """ElastiCache requires that an IAM user's name is its id."""
        name = self._context.names("cache user", USER)
        return aws.elasticache.User(
            "payment-cache-user",
            user_id=name,
            user_name=name,
            engine="redis",
            access_string=CACHE_ACCESS,
            authentication_mode={"type": "iam"},
            opts=self._child,
        )

    def _user_group(self) -> aws.elasticache.UserGroup:
        """The service's user, and a disabled `default`, which ElastiCache requires in a group."""
        disabled = aws.elasticache.User(
            "payment-cache-nobody",
            user_id=self._context.names("cache user", "payment-nobody"),
            user_name="default",
            engine="redis",
            access_string="off -@all",
            authentication_mode={"type": "no-password-required"},
            opts=self._child,
        )
        return aws.elasticache.UserGroup(
            "payment-cache-users",
            user_group_id=self._context.names("cache user", "payment-users"),
            engine="redis",
            user_ids=[disabled.user_id, self.user.user_id],
            opts=self._child,
        )

    def _log_delivery(
        self, log: str
    ) -> aws.elasticache.ReplicationGroupLogDeliveryConfigurationArgsDict:
        group = self._context.log_group(
            f"payment-cache-{log}", f"/aws/elasticache/{self.name}/{log}", self._child
        )
        return {
            "log_type": log,
            "log_format": "json",
            "destination_type": "cloudwatch-logs",
            "destination": group.name,
        }
