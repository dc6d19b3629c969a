"""The whole stack: roles, storage, functions, what calls them, and what watches them."""

from collections.abc import Mapping
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, cast

from aws_cdk import (
    App,
    CfnOutput,
    CfnParameter,
    CfnResource,
    Duration,
    LegacyStackSynthesizer,
    RemovalPolicy,
    Stack,
    TagManager,
    Tags,
)
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct, IConstruct

from remit.adapters.dynamodb.table import INDEXES
from remit_infra.build.lambda_package import ARCHITECTURE, PYTHON
from remit_infra.model.alarms import monitored_metrics, resource_alarms
from remit_infra.model.environments import MIGRATION_DATE, Names, common_tags
from remit_infra.model.permissions import LAMBDA_DYNAMODB, Statement
from remit_infra.model.service_env import service_environment
from remit_infra.topologies.lambda_dynamodb import STACK_NAME
from remit_infra.topologies.lambda_dynamodb.api import make_api
from remit_infra.topologies.lambda_dynamodb.monitoring import make_alarms, make_dashboard
from remit_infra.topologies.lambda_dynamodb.storage import Keys, Storage, make_keys, make_storage

REQUEST_SECONDS = 28
JOB_SECONDS = 900
MEMORY_MIB = 1_024

FUNCTIONS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "payment-validation": ("validation", REQUEST_SECONDS),
        "payment-processing": ("processing", REQUEST_SECONDS),
        "payment-delivery": ("delivery", JOB_SECONDS),
        "health-monitor": ("health", REQUEST_SECONDS),
    }
)
"""Each function by its module and its timeout: for requests below API Gateway's 29 seconds."""

SCHEDULES = (
    ("payment-delivery-tick", "payment-delivery", Duration.minutes(1), "tick"),
    ("payment-delivery-reconcile", "payment-delivery", Duration.days(1), "reconcile"),
    ("payment-health-monitor", "health-monitor", Duration.minutes(1), "watch"),
)
"""Rule, function, how often, and the job."""

NAMES = (
    ("stack", STACK_NAME),
    *((kind, function) for kind in ("function", "role") for function in FUNCTIONS),
    *(("rule", rule) for rule, *_ in SCHEDULES),
    ("queue", "failed-transactions-dlq"),
    ("topic", "payment-notifications"),
    ("table", "transactions"),
    ("api", "payment-api"),
    ("web acl", "payment-api"),
    ("dashboard", "payment-dashboard"),
)
"""The longest name of each kind."""


class LambdaDynamodbStack(Stack):
    """Everything of the topology. The suffix is in every name and says the environment: its sizes.

    `settings` are further ones of the service, by field. The function's zip is where the parameters
    CodeBucket and CodeKey say. Raises Refused where a name would not fit, before anything is built.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        suffix: str = "dev",
        migration_date: str = MIGRATION_DATE,
        alarm_email: str | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
        architecture: str = ARCHITECTURE,
        python: str = PYTHON,
    ) -> None:
        names = Names(suffix)
        names.require(NAMES)
        names.bucket("payment-audit-logs", "", "")
        common = common_tags(names.environment, migration_date=migration_date, managed_by="aws-cdk")
        super().__init__(
            scope,
            names("stack", STACK_NAME),
            analytics_reporting=False,
            synthesizer=LegacyStackSynthesizer(),
        )
        self.names = names
        self._retention = _retention(names.environment.log_retention_days)
        self._roles = {name: self._role(name) for name in FUNCTIONS}
        keys = make_keys(self, names, self._roles)
        storage = make_storage(self, names, keys.data)
        scopes = _scopes(names)
        alarms = tuple(resource_alarms(scopes))
        code = lambda_.Code.from_cfn_parameters(
            bucket_name_param=CfnParameter(self, "CodeBucket", default="named-by-the-deployment"),
            object_key_param=CfnParameter(self, "CodeKey", default="function.zip"),
        )
        environment = service_environment({**_settings(keys, storage), **settings})
        watching = service_environment({"monitored_metrics": monitored_metrics(alarms)})
        resources = _resources(keys, storage)
        functions = {
            name: self._function(
                name,
                environment | (watching if name == "health-monitor" else {}),
                resources,
                keys.data,
                code=code,
                runtime=lambda_.Runtime(f"python{python}", lambda_.RuntimeFamily.PYTHON),
                architecture=lambda_.Architecture.custom(architecture),
            )
            for name in FUNCTIONS
        }
        self._call(functions, storage)
        answering = {FUNCTIONS[name][0]: function for name, function in functions.items()}
        api = make_api(self, names, answering, keys.data, self._retention)
        make_alarms(self, names, alarms, storage.alarms)
        if alarm_email is not None:
            storage.alarms.add_subscription(subscriptions.EmailSubscription(alarm_email))
        make_dashboard(self, names, scopes)
        CfnOutput(self, "APIEndpoint", value=api.url)
        CfnOutput(self, "TransactionsTableName", value=storage.table.table_name)
        CfnOutput(self, "AlarmTopicArn", value=storage.alarms.topic_arn)
        CfnOutput(self, "DashboardName", value=names("dashboard", "payment-dashboard"))
        self._tag(common)

    def _role(self, function: str) -> iam.Role:
        return iam.Role(
            self,
            f"{function}-role",
            role_name=self.names("role", function),
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        )

    def _function(
        self,
        name: str,
        environment: Mapping[str, str],
        resources: Mapping[str, str],
        key: kms.Key,
        *,
        code: lambda_.Code,
        runtime: lambda_.Runtime,
        architecture: lambda_.Architecture,
    ) -> lambda_.Function:
        module, timeout_seconds = FUNCTIONS[name]
        full_name = self.names("function", name)
        group = logs.LogGroup(
            self,
            f"{name}-logs",
            log_group_name=f"/aws/lambda/{full_name}",
            encryption_key=key,
            retention=self._retention,
            removal_policy=RemovalPolicy.DESTROY,
        )
        resources = {**resources, "log group": group.log_group_arn}
        policy = iam.ManagedPolicy(
            self,
            f"{name}-policy",
            managed_policy_name=full_name,
            roles=[self._roles[name]],
            statements=[_statement(one, resources) for one in LAMBDA_DYNAMODB[name]],
        )
        function = lambda_.Function(
            self,
            name,
            function_name=full_name,
            runtime=runtime,
            architecture=architecture,
            code=code,
            handler=f"remit.entrypoints.lambdas.{module}.handler",
            role=self._roles[name].without_policy_updates(),
            log_group=group,
            environment={
                **environment,
                "POWERTOOLS_SERVICE_NAME": self.names("function", "payment"),
            },
            environment_encryption=key,
            memory_size=MEMORY_MIB,
            timeout=Duration.seconds(timeout_seconds),
            tracing=lambda_.Tracing.ACTIVE,
            reserved_concurrent_executions=self.names.environment.concurrency[name],
        )
        # Not before it may log and be called; its role is implied.
        resource = cast(CfnResource, function.node.default_child)
        needed = cast(CfnResource, policy.node.default_child)
        resource.add_override("DependsOn", [self.get_logical_id(needed)])
        return function

    def _call(self, functions: Mapping[str, lambda_.Function], storage: Storage) -> None:
        """The stream, the failure queue and the clock."""
        functions["payment-delivery"].add_event_source(
            sources.DynamoEventSource(
                storage.table,
                starting_position=lambda_.StartingPosition.TRIM_HORIZON,
                batch_size=100,
                report_batch_item_failures=True,
                # What fails more often is left to the clock, which relays whatever waits.
                retry_attempts=3,
            )
        )
        functions["payment-processing"].add_event_source(
            sources.SqsEventSource(storage.failed, batch_size=10, report_batch_item_failures=True)
        )
        for rule, function, every, job in SCHEDULES:
            target = targets.LambdaFunction(
                functions[function],
                event=events.RuleTargetInput.from_object({"job": job}),
                retry_attempts=0,
            )
            events.Rule(
                self,
                rule,
                rule_name=self.names("rule", rule),
                schedule=events.Schedule.rate(every),
                targets=[target],
            )

    def _tag(self, common: Mapping[str, str]) -> None:
        """The common tags on everything that takes any, and each thing's own name."""
        for key, value in common.items():
            Tags.of(self).add(key, value)
        for child in self.node.find_all():
            if CfnResource.is_cfn_resource(child) and TagManager.of(child) is not None:
                Tags.of(child).add("Name", f"{_path(child)}-{self.names.suffix}")


def _retention(days: int) -> logs.RetentionDays:
    return {
        7: logs.RetentionDays.ONE_WEEK,
        30: logs.RetentionDays.ONE_MONTH,
        365: logs.RetentionDays.ONE_YEAR,
    }[days]


def _settings(keys: Keys, storage: Storage) -> dict[str, str]:
    return {
        "transactions_table": storage.table.table_name,
        "work_queue_url": storage.failed.queue_url,
        "work_dead_letter_url": storage.dead_letters.queue_url,
        "notification_topic_arn": storage.notifications.topic_arn,
        "alarm_topic_arn": storage.alarms.topic_arn,
        "audit_bucket": storage.audit.bucket_name,
        "card_key_id": keys.cards.key_id,
        "fingerprint_key_id": keys.fingerprints.key_id,
    }


def _resources(keys: Keys, storage: Storage) -> dict[str, str]:
    """The words of `permissions.py` by the ARNs they stand for."""
    table = storage.table.table_arn
    return {
        "*": "*",
        "table": table,
        "stream": str(storage.table.table_stream_arn),
        **{f"index {name}": f"{table}/index/{name}" for name in INDEXES},
        "failed queue": storage.failed.queue_arn,
        "dead letter queue": storage.dead_letters.queue_arn,
        "alarm topic": storage.alarms.topic_arn,
        "notification topic": storage.notifications.topic_arn,
        "audit bucket": storage.audit.bucket_arn,
        "audit objects": storage.audit.arn_for_objects("*"),
        "card key": keys.cards.key_arn,
        "fingerprint key": keys.fingerprints.key_arn,
    }


def _scopes(names: Names) -> dict[str, dict[str, dict[str, str]]]:
    """What there is to watch, by scope and name, with the dimensions of its metrics."""
    functions = {name: {"FunctionName": names("function", name)} for name in FUNCTIONS}
    api = {"ApiName": names("api", "payment-api"), "Stage": names.environment.name}
    dead_letters = "failed-transactions-dlq"
    return {
        "api": {"api": api},
        "function": functions,
        "request function": {
            name: functions[name] for name, (_, seconds) in FUNCTIONS.items() if seconds < 29
        },
        "monitor": {"health-monitor": functions["health-monitor"]},
        "stream function": {"payment-delivery": functions["payment-delivery"]},
        "table": {"transactions": {"TableName": names("table", "transactions")}},
        "queue": {"failed-transactions": {"QueueName": names("queue", "failed-transactions")}},
        "dead letters": {dead_letters: {"QueueName": names("queue", dead_letters)}},
        "topic": {
            topic: {"TopicName": names("topic", topic)}
            for topic in ("payment-alarms", "payment-notifications")
        },
        "service": {"payment": {"service": names("function", "payment")}},
    }


def _statement(one: Statement, resources: Mapping[str, str]) -> iam.PolicyStatement:
    conditions: dict[str, dict[str, str]] = {}
    for operator, key, value in one.conditions:
        conditions.setdefault(operator, {})[key] = value
    return iam.PolicyStatement(
        sid=one.sid,
        actions=list(one.actions),
        resources=[resources[resource] for resource in one.resources],
        conditions=conditions or None,
    )


def _path(child: IConstruct) -> str:
    """Where a resource is in the stack, as a name: `payment-validation`, `transactions`."""
    parts = [part for part in child.node.path.split("/")[1:] if part not in ("Resource", "Default")]
    return "-".join(parts).lower()


def synthesise(**options: Any) -> tuple[str, dict[str, Any]]:
    """The stack's name and its template, for the options of `LambdaDynamodb`. Needs no account, no
    network and no command line of the CDK.
    """
    with TemporaryDirectory() as folder:
        app = App(analytics_reporting=False, outdir=folder)
        stack = LambdaDynamodbStack(app, **options)
        template: dict[str, Any] = app.synth().get_stack_by_name(stack.stack_name).template
    return stack.stack_name, template
