"""Aurora PostgreSQL, serverless: private, encrypted, backed up, with TLS alone.

It grows with its load between two limits. With a lower limit of none it pauses while nobody is
connected, and the service lets go of its connections where it may.
"""

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Ground
from remit_infra.components.data.database import (
    ADMIN,
    BACKUP_WINDOW,
    INSIGHTS_DAYS,
    MAINTENANCE_WINDOW,
    MONITORING_SECONDS,
    NAME,
    PARAMETERS,
    monitoring_role,
)
from remit_infra.components.network.egress import EgressOnlyNetwork
from remit_infra.components.network.network import POSTGRES, allow
from remit_infra.model.environments import FargateSizes

EXPORTS = ("postgresql",)
INSTANCE_CLASS = "db.serverless"


class Aurora(pulumi.ComponentResource):
    """A writer and `readers`, one of which takes over when the writer fails. RDS makes the
    administrator's password and Secrets Manager rotates it, so nobody has ever seen it. Only what
    `clients` holds can reach it.
    """

    def __init__(
        self,
        ground: Ground,
        network: EgressOnlyNetwork,
        *,
        clients: aws.ec2.SecurityGroup,
        version: str,
        size: FargateSizes,
        readers: int,
    ) -> None:
        super().__init__("remit:aurora:Aurora", "aurora")
        self._ground = ground
        self._under = pulumi.ResourceOptions(parent=self)
        names, key = ground.names, ground.key.arn
        group = network.group("payment-db-sg", "Database: PostgreSQL from the tasks")
        allow("payment-db-postgres", to=group, source=clients, port=POSTGRES)
        subnets = aws.rds.SubnetGroup(
            "payment-db-subnets",
            name=names("subnet group", "payment-db-subnets"),
            subnet_ids=[subnet.id for subnet in network.data],
            opts=self._under,
        )
        logs: list[pulumi.Resource] = [
            # RDS would make the group of its log itself, without an end to what it keeps.
            ground.log_group(
                f"payment-db-{export}-logs",
                f"/aws/rds/cluster/{names('database', 'payment-db')}/{export}",
                self._under,
            )
            for export in EXPORTS
        ]
        self.cluster = aws.rds.Cluster(
            "payment-db",
            cluster_identifier=names("database", "payment-db"),
            engine="aurora-postgresql",
            engine_mode="provisioned",
            engine_version=version,
            allow_major_version_upgrade=True,
            serverlessv2_scaling_configuration=_capacity(size),
            database_name=NAME,
            port=POSTGRES,
            network_type="DUAL",
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group.id],
            db_cluster_parameter_group_name=self._parameters(version.partition(".")[0]).name,
            master_username=ADMIN,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=key,
            iam_database_authentication_enabled=True,
            storage_encrypted=True,
            kms_key_id=key,
            backup_retention_period=size.backup_days,
            preferred_backup_window=BACKUP_WINDOW,
            preferred_maintenance_window=MAINTENANCE_WINDOW,
            copy_tags_to_snapshot=True,
            delete_automated_backups=True,
            skip_final_snapshot=True,
            deletion_protection=names.environment.deletion_protection,
            enabled_cloudwatch_logs_exports=list(EXPORTS),
            apply_immediately=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=logs),
        )
        role, monitored = monitoring_role(names, self._under)
        for number in range(1 + readers):
            self._instance(number, role, monitored)
        secrets = self.cluster.master_user_secrets
        self.secret_arn: pulumi.Output[str] = secrets.apply(lambda made: str(made[0].secret_arn))
        self.endpoint = self.cluster.endpoint
        self.register_outputs({"endpoint": self.endpoint})

    def _parameters(self, major: str) -> aws.rds.ClusterParameterGroup:
        return aws.rds.ClusterParameterGroup(
            "payment-db-parameters",
            name=self._ground.names("parameter group", f"payment-db-parameters-{major}"),
            family=f"aurora-postgresql{major}",
            parameters=[
                {"name": parameter, "value": value} for parameter, value in PARAMETERS.items()
            ],
            opts=self._under,
        )

    def _instance(self, number: int, role: aws.iam.Role, monitored: pulumi.Resource) -> None:
        """The first is the writer, until one of the others has to be."""
        names, key = self._ground.names, self._ground.key.arn
        name = "payment-db-writer" if number == 0 else f"payment-db-reader-{number}"
        zones = self._ground.place.zones
        aws.rds.ClusterInstance(
            name,
            identifier=names("database", name),
            cluster_identifier=self.cluster.cluster_identifier,
            engine=aws.rds.EngineType.AURORA_POSTGRESQL,
            engine_version=self.cluster.engine_version,
            instance_class=INSTANCE_CLASS,
            availability_zone=zones[number % len(zones)],
            # Of the first tiers, which are as large as the writer at all times.
            promotion_tier=min(number, 1),
            publicly_accessible=False,
            auto_minor_version_upgrade=True,
            copy_tags_to_snapshot=True,
            monitoring_interval=MONITORING_SECONDS,
            monitoring_role_arn=role.arn,
            performance_insights_enabled=True,
            performance_insights_kms_key_id=key,
            performance_insights_retention_period=INSIGHTS_DAYS,
            apply_immediately=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[monitored]),
        )


def _capacity(size: FargateSizes) -> aws.rds.ClusterServerlessv2ScalingConfigurationArgsDict:
    least, most = size.capacity_units
    scaling: aws.rds.ClusterServerlessv2ScalingConfigurationArgsDict = {
        "min_capacity": least,
        "max_capacity": most,
    }
    if size.pause_after_seconds is not None:
        scaling["seconds_until_auto_pause"] = size.pause_after_seconds
    return scaling
