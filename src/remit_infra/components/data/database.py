"""PostgreSQL in RDS: private, in two zones at once, encrypted, backed up, and with TLS alone."""

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Ground
from remit_infra.components.network.nat import NatNetwork
from remit_infra.components.network.network import POSTGRES, allow
from remit_infra.components.roles import make_role
from remit_infra.model.environments import Names, RdsSizes

NAME = "payments"
ADMIN = "payments_admin"
BACKUP_DAYS = 7
BACKUP_WINDOW, MAINTENANCE_WINDOW = "03:00-04:00", "sun:04:30-sun:05:30"
MONITORING_SECONDS = 60
INSIGHTS_DAYS = 7
EXPORTS = ("postgresql", "upgrade")

TLS_FORCED = {"rds.force_ssl": "1"}
LOGGED = {
    "log_connections": "1",
    "log_disconnections": "1",
    "log_statement": "ddl",
    "log_min_duration_statement": "1000",
    # What is logged of a slow statement is its text, never the values bound to it.
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
PARAMETERS = {**TLS_FORCED, **LOGGED}


class Database(pulumi.ComponentResource):
    """One Multi-AZ instance. RDS makes its administrator's password and Secrets Manager rotates it,
    so nobody has ever seen it. Only what `clients` holds can reach it.
    """

    def __init__(
        self,
        ground: Ground,
        network: NatNetwork,
        *,
        clients: aws.ec2.SecurityGroup,
        version: str,
        size: RdsSizes,
    ) -> None:
        super().__init__("remit:database:Database", "database")
        self._ground = ground
        self._under = pulumi.ResourceOptions(parent=self)
        names, key = ground.names, ground.key.arn
        group = network.group("payment-db-sg", "Database: PostgreSQL from the functions")
        allow("payment-db-postgres", to=group, source=clients, port=POSTGRES)
        subnets = aws.rds.SubnetGroup(
            "payment-db-subnets",
            name=names("subnet group", "payment-db-subnets"),
            subnet_ids=[subnet.id for subnet in network.private],
            opts=self._under,
        )
        monitoring, monitored = monitoring_role(names, self._under)
        self.instance = aws.rds.Instance(
            "payment-db",
            identifier=names("database", "payment-db"),
            engine="postgres",
            engine_version=version,
            auto_minor_version_upgrade=True,
            allow_major_version_upgrade=True,
            instance_class=size.instance_class,
            allocated_storage=size.storage_gib,
            max_allocated_storage=size.max_storage_gib,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=key,
            multi_az=True,
            publicly_accessible=False,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group.id],
            parameter_group_name=self._parameters(version.partition(".")[0]).name,
            db_name=NAME,
            port=POSTGRES,
            username=ADMIN,
            iam_database_authentication_enabled=True,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=key,
            backup_retention_period=BACKUP_DAYS,
            backup_window=BACKUP_WINDOW,
            maintenance_window=MAINTENANCE_WINDOW,
            copy_tags_to_snapshot=True,
            delete_automated_backups=True,
            skip_final_snapshot=True,
            deletion_protection=names.environment.deletion_protection,
            enabled_cloudwatch_logs_exports=list(EXPORTS),
            monitoring_interval=MONITORING_SECONDS,
            monitoring_role_arn=monitoring.arn,
            performance_insights_enabled=True,
            performance_insights_kms_key_id=key,
            performance_insights_retention_period=INSIGHTS_DAYS,
            apply_immediately=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*self._logs(), monitored]),
        )
        secrets = self.instance.master_user_secrets
        self.secret_arn: pulumi.Output[str] = secrets.apply(lambda made: str(made[0].secret_arn))
        self.endpoint = self.instance.endpoint
        self.register_outputs({"endpoint": self.endpoint})

    def _parameters(self, major: str) -> aws.rds.ParameterGroup:
        return aws.rds.ParameterGroup(
            "payment-db-parameters",
            name=self._ground.names("parameter group", f"payment-db-parameters-{major}"),
            family=f"postgres{major}",
            parameters=[
                {"name": parameter, "value": value} for parameter, value in PARAMETERS.items()
            ],
            opts=self._under,
        )

    def _logs(self) -> list[pulumi.Resource]:
        """RDS would make the groups of its logs itself, without an end to what they keep."""
        name = self._ground.names("database", "payment-db")
        return [
            self._ground.log_group(
                f"payment-db-{export}-logs", f"/aws/rds/instance/{name}/{export}", self._under
            )
            for export in EXPORTS
        ]


def monitoring_role(
    names: Names, opts: pulumi.ResourceOptions
) -> tuple[aws.iam.Role, pulumi.Resource]:
    """The role with which RDS writes what its enhanced monitoring sees."""
    role = make_role(
        names, "payment-db-monitoring", service="monitoring.rds.amazonaws.com", opts=opts
    )
    attached = aws.iam.RolePolicyAttachment(
        "payment-db-monitoring-policy",
        role=role.name,
        policy_arn="arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole",
        opts=opts,
    )
    return role, attached
