"""What can go wrong with what watches: alarms, logs, the dashboard."""

from tests.infra.mutations.mutation import Mutation, altered, by_topology, giving, gone, without
from tests.infra.policies import monitoring
from tests.infra.policies.policy import DYNAMODB, EVERY, FARGATE, POSTGRES, PULUMI

ALARM = "cloudwatch/metricAlarm:MetricAlarm"
EXPORTS = "enabledCloudwatchLogsExports"

MUTATIONS = {
    "an alarm without an action": Mutation(
        monitoring.every_alarm_tells_both_ways_and_is_in_the_runbook,
        EVERY,
        altered(ALARM, "payment-audit-break", without("alarmActions")),
    ),
    "an alarm without an OK action": Mutation(
        monitoring.every_alarm_tells_both_ways_and_is_in_the_runbook,
        EVERY,
        altered(ALARM, "payment-audit-break", without("okActions")),
    ),
    "an alarm whose runbook entry does not exist": Mutation(
        monitoring.every_alarm_tells_both_ways_and_is_in_the_runbook,
        EVERY,
        altered(ALARM, "payment-audit-break", giving(alarmDescription="See docs/runbook.md, x.")),
    ),
    "failures without an alarm": Mutation(
        monitoring.what_must_be_watched_is, EVERY, altered(ALARM, "payment-messages-failed", gone)
    ),
    "dead letters without an alarm": Mutation(
        monitoring.what_must_be_watched_is,
        (FARGATE,),
        altered(ALARM, "payment-dlq-not-empty", gone),
    ),
    "an alarm at another threshold": Mutation(
        monitoring.what_must_be_watched_is,
        (FARGATE,),
        altered(ALARM, "payment-db-cpu", giving(threshold=99)),
    ),
    "a log that is kept for ever": Mutation(
        monitoring.every_log_group_is_encrypted_and_kept_for_its_time,
        EVERY,
        altered("cloudwatch/logGroup:LogGroup", "logs", without("retentionInDays")),
    ),
    "a log group that no resource writes to": Mutation(
        monitoring.every_log_group_is_written_to,
        (DYNAMODB,),
        altered("apigateway/stage:Stage", "", without("accessLogSettings")),
    ),
    "a database log without exports": Mutation(
        monitoring.every_service_has_its_log_group,
        PULUMI,
        by_topology(
            {
                POSTGRES: altered("rds/instance:Instance", "", without(EXPORTS)),
                FARGATE: altered("rds/cluster:Cluster", "", without(EXPORTS)),
            }
        ),
    ),
    "a dashboard without latency": Mutation(
        monitoring.a_dashboard_shows_what_matters,
        PULUMI,
        altered(
            "cloudwatch/dashboard:Dashboard",
            "",
            lambda given: {
                "dashboardBody": given["dashboardBody"].replace("TargetResponseTime", "x")
            },
        ),
    ),
}
