"""PostgreSQL in RDS: private, Multi-AZ, encrypted, backed up, and with TLS only."""

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
from remit_infra.components.network.nat import NatNetwork
from remit_infra.components.network.network import POSTGRES, allow_traffic

BACKUP_DAYS = 7
EXPORTS = ("postgresql", "upgrade")


class RdsDatabase(pulumi.ComponentResource):
    """One Multi-AZ instance, which only `clients` reach. RDS generates the administrator's password
    and Secrets Manager rotates it, so it is in no configuration and no state.
    """

    def __init__(
        self,
        context: Context,
        network: NatNetwork,
        *,
        clients: aws.ec2.SecurityGroup,
        version: str,
    ) -> None:
        super().__init__("remit:database:Database", "database")
        self._context = context
        self._child = pulumi.ResourceOptions(parent=self)
        names, key_arn = context.names, context.key.arn
        sizes = names.environment.rds
        group = network.security_group("payment-db-sg", "Database: PostgreSQL from the functions")
        allow_traffic("payment-db-postgres", source=clients, target=group, port=POSTGRES)
        subnets = aws.rds.SubnetGroup(
            "payment-db-subnets",
            name=names("subnet group", "payment-db-subnets"),
            subnet_ids=[subnet.id for subnet in network.private],
            opts=self._child,
        )
        monitoring_role, monitoring_policy = make_monitoring_role(names, self._child)
        self.instance = aws.rds.Instance(
            "payment-db",
            identifier=names("database", "payment-db"),
            engine="postgres",
            engine_version=version,
            auto_minor_version_upgrade=True,
            allow_major_version_upgrade=True,
            instance_class=sizes.instance_class,
            allocated_storage=sizes.storage_gib,
            max_allocated_storage=sizes.max_storage_gib,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=key_arn,
            multi_az=True,
            publicly_accessible=False,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group.id],
            parameter_group_name=self._parameter_group(version.partition(".")[0]).name,
            db_name=DATABASE,
            port=POSTGRES,
            username=ADMIN_USER,
            iam_database_authentication_enabled=True,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=key_arn,
            backup_retention_period=BACKUP_DAYS,
            backup_window=BACKUP_WINDOW,
            maintenance_window=MAINTENANCE_WINDOW,
            copy_tags_to_snapshot=True,
            delete_automated_backups=True,
            skip_final_snapshot=True,
            deletion_protection=names.environment.deletion_protection,
            enabled_cloudwatch_logs_exports=list(EXPORTS),
            monitoring_interval=MONITORING_SECONDS,
            monitoring_role_arn=monitoring_role.arn,
            performance_insights_enabled=True,
            performance_insights_kms_key_id=key_arn,
            performance_insights_retention_period=INSIGHTS_DAYS,
            apply_immediately=True,
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[*self._log_groups(), monitoring_policy]
            ),
        )
        secrets = self.instance.master_user_secrets
        self.secret_arn: pulumi.Output[str] = secrets.apply(lambda items: str(items[0].secret_arn))
        self.endpoint = self.instance.endpoint
        self.register_outputs({"endpoint": self.endpoint})

    def _parameter_group(self, major_version: str) -> aws.rds.ParameterGroup:
        return aws.rds.ParameterGroup(
            "payment-db-parameters",
            name=self._context.names("parameter group", f"payment-db-parameters-{major_version}"),
            family=f"postgres{major_version}",
            parameters=[{"name": name, "value": value} for name, value in PARAMETERS.items()],
            opts=self._child,
        )

    def _log_groups(self) -> list[pulumi.Resource]:
        """Made before the database: RDS would make them itself, without a retention."""
        name = self._context.names("database", "payment-db")
        return [
            self._context.log_group(
                f"payment-db-{export}-logs", f"/aws/rds/instance/{name}/{export}", self._child
            )
            for export in EXPORTS
        ]
