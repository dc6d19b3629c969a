"""Aurora Serverless v2 with PostgreSQL: private, encrypted, backed up, and with TLS only.

Its capacity follows the load between a minimum and a maximum. With a minimum of 0 it pauses while
there is no connection; the service then closes its idle connections.
"""

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Context
from remit_infra.components.data.postgres import (
    ADMIN_USER,
    BACKUP_WINDOW,
    DATABASE,
    INSIGHTS_DAYS,
    MAINTENANCE_WINDOW,
    MONITORING_SECONDS,
    PARAMETERS,
    make_monitoring_role,
)
from remit_infra.components.network.egress import EgressOnlyNetwork
from remit_infra.components.network.network import POSTGRES, allow_traffic
from remit_infra.model.environments import FargateSizes

EXPORTS = ("postgresql",)
INSTANCE_CLASS = "db.serverless"


class AuroraDatabase(pulumi.ComponentResource):
    """A writer and `readers`, one of which becomes the writer when it fails. Only `clients` reach
    them. RDS generates the administrator's password and Secrets Manager rotates it, so it is in no
    configuration and no state.
    """

    def __init__(
        self,
        context: Context,
        network: EgressOnlyNetwork,
        *,
        clients: aws.ec2.SecurityGroup,
        version: str,
        readers: int,
    ) -> None:
        super().__init__("remit:aurora:Aurora", "aurora")
        self._context = context
        self._child = pulumi.ResourceOptions(parent=self)
        names, key_arn = context.names, context.key.arn
        sizes = names.environment.fargate
        group = network.security_group("payment-db-sg", "Database: PostgreSQL from the tasks")
        allow_traffic("payment-db-postgres", source=clients, target=group, port=POSTGRES)
        subnets = aws.rds.SubnetGroup(
            "payment-db-subnets",
            name=names("subnet group", "payment-db-subnets"),
            subnet_ids=[subnet.id for subnet in network.data],
            opts=self._child,
        )
        self.cluster = aws.rds.Cluster(
            "payment-db",
            cluster_identifier=names("database", "payment-db"),
            engine="aurora-postgresql",
            engine_mode="provisioned",
            engine_version=version,
            allow_major_version_upgrade=True,
            serverlessv2_scaling_configuration=_capacity(sizes),
            database_name=DATABASE,
            port=POSTGRES,
            network_type="DUAL",
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group.id],
            db_cluster_parameter_group_name=self._parameter_group(version.partition(".")[0]).name,
            master_username=ADMIN_USER,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=key_arn,
            iam_database_authentication_enabled=True,
            storage_encrypted=True,
            kms_key_id=key_arn,
            backup_retention_period=sizes.backup_days,
            preferred_backup_window=BACKUP_WINDOW,
            preferred_maintenance_window=MAINTENANCE_WINDOW,
            copy_tags_to_snapshot=True,
            delete_automated_backups=True,
            skip_final_snapshot=True,
            deletion_protection=names.environment.deletion_protection,
            enabled_cloudwatch_logs_exports=list(EXPORTS),
            apply_immediately=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=self._log_groups()),
        )
        role, policy = make_monitoring_role(names, self._child)
        for number in range(1 + readers):
            self._instance(number, role, policy)
        secrets = self.cluster.master_user_secrets
        self.secret_arn: pulumi.Output[str] = secrets.apply(lambda items: str(items[0].secret_arn))
        self.endpoint = self.cluster.endpoint
        self.register_outputs({"endpoint": self.endpoint})

    def _parameter_group(self, major_version: str) -> aws.rds.ClusterParameterGroup:
        return aws.rds.ClusterParameterGroup(
            "payment-db-parameters",
            name=self._context.names("parameter group", f"payment-db-parameters-{major_version}"),
            family=f"aurora-postgresql{major_version}",
            parameters=[{"name": name, "value": value} for name, value in PARAMETERS.items()],
            opts=self._child,
        )

    def _log_groups(self) -> list[pulumi.Resource]:
        """Made before the database: RDS would make them itself, without a retention."""
        name = self._context.names("database", "payment-db")
        return [
            self._context.log_group(
                f"payment-db-{export}-logs", f"/aws/rds/cluster/{name}/{export}", self._child
            )
            for export in EXPORTS
        ]

    def _instance(
        self, number: int, monitoring_role: aws.iam.Role, monitoring_policy: pulumi.Resource
    ) -> None:
        """Number 0 is the first writer. Aurora makes a reader the writer when the writer fails."""
        names, key_arn = self._context.names, self._context.key.arn
        name = "payment-db-writer" if number == 0 else f"payment-db-reader-{number}"
        zones = self._context.aws_environment.zones
        aws.rds.ClusterInstance(
            name,
            identifier=names("database", name),
            cluster_identifier=self.cluster.cluster_identifier,
            engine=aws.rds.EngineType.AURORA_POSTGRESQL,
            engine_version=self.cluster.engine_version,
            instance_class=INSTANCE_CLASS,
            availability_zone=zones[number % len(zones)],
            # Instances of tiers 0 and 1 always have the writer's capacity.
            promotion_tier=min(number, 1),
            publicly_accessible=False,
            auto_minor_version_upgrade=True,
            copy_tags_to_snapshot=True,
            monitoring_interval=MONITORING_SECONDS,
            monitoring_role_arn=monitoring_role.arn,
            performance_insights_enabled=True,
            performance_insights_kms_key_id=key_arn,
            performance_insights_retention_period=INSIGHTS_DAYS,
            apply_immediately=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[monitoring_policy]),
        )


def _capacity(sizes: FargateSizes) -> aws.rds.ClusterServerlessv2ScalingConfigurationArgsDict:
    minimum, maximum = sizes.capacity_units
    scaling: aws.rds.ClusterServerlessv2ScalingConfigurationArgsDict = {
        "min_capacity": minimum,
        "max_capacity": maximum,
    }
    if sizes.pause_after_seconds is not None:
        scaling["seconds_until_auto_pause"] = sizes.pause_after_seconds
    return scaling
