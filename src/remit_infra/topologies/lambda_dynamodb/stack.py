"""The CDK stack of lambda-dynamodb: all its resources."""

from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any

from aws_cdk import App, CfnOutput, CfnResource, LegacyStackSynthesizer, Stack, TagManager, Tags
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct, IConstruct

from remit_infra.model.alarm import monitored_metrics
from remit_infra.model.alarms import resource_alarms
from remit_infra.model.environments import Names, common_tags
from remit_infra.topologies.lambda_dynamodb import STACK_NAME
from remit_infra.topologies.lambda_dynamodb.configuration import (
    FUNCTIONS,
    SCHEDULES,
    LambdaDynamodbConfiguration,
)
from remit_infra.topologies.lambda_dynamodb.context import StackContext
from remit_infra.topologies.lambda_dynamodb.functions import make_functions, make_roles
from remit_infra.topologies.lambda_dynamodb.keys import make_data_key
from remit_infra.topologies.lambda_dynamodb.monitoring import (
    graphs_of,
    make_alarms,
    make_dashboard,
    scopes_of,
)
from remit_infra.topologies.lambda_dynamodb.rest_api import make_rest_api
from remit_infra.topologies.lambda_dynamodb.storage import StackStorage, make_storage

DEFAULT_CONFIGURATION = LambdaDynamodbConfiguration()


class LambdaDynamodbStack(Stack):
    """All resources of the topology. The suffix is in every name and says the environment."""

    def __init__(
        self,
        scope: Construct,
        configuration: LambdaDynamodbConfiguration = DEFAULT_CONFIGURATION,
    ) -> None:
        names = configuration.names
        super().__init__(
            scope,
            names("stack", STACK_NAME),
            analytics_reporting=False,
            synthesizer=LegacyStackSynthesizer(),
        )
        roles = make_roles(self, names)
        context = StackContext(stack=self, names=names, key=make_data_key(self, names, roles))
        storage = make_storage(context)
        scopes = scopes_of(names)
        alarms = tuple(resource_alarms(scopes))
        functions = make_functions(
            context, configuration, roles, storage, monitored=monitored_metrics(alarms)
        )
        self._make_event_sources(functions, storage)
        self._make_schedules(names, functions)
        api = make_rest_api(context, {spec.module: functions[spec.name] for spec in FUNCTIONS})
        make_alarms(self, names, alarms, storage.alarms)
        if configuration.alarm_email is not None:
            storage.alarms.add_subscription(
                subscriptions.EmailSubscription(configuration.alarm_email)
            )
        make_dashboard(self, names, graphs_of(scopes))
        CfnOutput(self, "APIEndpoint", value=api.url)
        CfnOutput(self, "TransactionsTableName", value=storage.table.table_name)
        CfnOutput(self, "AlarmTopicArn", value=storage.alarms.topic_arn)
        CfnOutput(self, "DashboardName", value=names("dashboard", "payment-dashboard"))
        self._tag(names, configuration.migration_date)

    def _make_event_sources(
        self, functions: Mapping[str, lambda_.Function], storage: StackStorage
    ) -> None:
        """The table's stream invokes delivery, the failure queue invokes processing."""
        functions["payment-delivery"].add_event_source(
            sources.DynamoEventSource(
                storage.table,
                starting_position=lambda_.StartingPosition.TRIM_HORIZON,
                batch_size=100,
                report_batch_item_failures=True,
                # After that, the scheduled job relays what is still in the outbox.
                retry_attempts=3,
            )
        )
        functions["payment-processing"].add_event_source(
            sources.SqsEventSource(storage.failed, batch_size=10, report_batch_item_failures=True)
        )

    def _make_schedules(self, names: Names, functions: Mapping[str, lambda_.Function]) -> None:
        """A failed call of a schedule is not retried, because the next one follows."""
        for schedule in SCHEDULES:
            target = targets.LambdaFunction(
                functions[schedule.function],
                event=events.RuleTargetInput.from_object({"job": schedule.job}),
                retry_attempts=0,
            )
            events.Rule(
                self,
                schedule.rule,
                rule_name=names("rule", schedule.rule),
                schedule=events.Schedule.expression(f"rate({schedule.rate})"),
                targets=[target],
            )

    def _tag(self, names: Names, migration_date: str) -> None:
        """Gives every taggable resource the common tags and a `Name`."""
        common = common_tags(names.environment, migration_date=migration_date, managed_by="aws-cdk")
        for key, value in common.items():
            Tags.of(self).add(key, value)
        for child in self.node.find_all():
            if CfnResource.is_cfn_resource(child) and TagManager.of(child) is not None:
                Tags.of(child).add("Name", f"{_path(child)}-{names.suffix}")


def _path(child: IConstruct) -> str:
    """The resource's path in the stack, as a name: `payment-validation`, `transactions`."""
    parts = [part for part in child.node.path.split("/")[1:] if part not in ("Resource", "Default")]
    return "-".join(parts).lower()


def synthesise(**options: Any) -> tuple[str, dict[str, Any]]:
    """The stack's name and template, for the options of `LambdaDynamodbConfiguration`. Needs no
    account, no network and not the CDK's command line.
    """
    with TemporaryDirectory() as folder:
        app = App(analytics_reporting=False, outdir=folder)
        stack = LambdaDynamodbStack(app, LambdaDynamodbConfiguration(**options))
        template: dict[str, Any] = app.synth().get_stack_by_name(stack.stack_name).template
    return stack.stack_name, template
