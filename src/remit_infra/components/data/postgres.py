"""What RDS and Aurora have alike: names, windows, server parameters, enhanced monitoring."""

import pulumi
import pulumi_aws as aws

from remit_infra.components.roles import make_role
from remit_infra.model.environments import Names

DATABASE = "payments"
ADMIN_USER = "payments_admin"
BACKUP_WINDOW, MAINTENANCE_WINDOW = "03:00-04:00", "sun:04:30-sun:05:30"
MONITORING_SECONDS = 60
INSIGHTS_DAYS = 7

TLS_PARAMETERS = {"rds.force_ssl": "1"}
LOG_PARAMETERS = {
    "log_connections": "1",
    "log_disconnections": "1",
    "log_statement": "ddl",
    "log_min_duration_statement": "1000",
    # The log of a slow statement contains its text and never its parameters.
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
PARAMETERS = {**TLS_PARAMETERS, **LOG_PARAMETERS}


def make_monitoring_role(
    names: Names, opts: pulumi.ResourceOptions
) -> tuple[aws.iam.Role, pulumi.Resource]:
    """The role with which RDS writes its enhanced monitoring, and the attachment of its policy."""
    role = make_role(
        names, "payment-db-monitoring", service="monitoring.rds.amazonaws.com", opts=opts
    )
    attachment = aws.iam.RolePolicyAttachment(
        "payment-db-monitoring-policy",
        role=role.name,
        policy_arn="arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole",
        opts=opts,
    )
    return role, attachment
