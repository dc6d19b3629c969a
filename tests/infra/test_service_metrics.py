"""Alarms and dashboards name the service's metrics as the service counts them."""

import pytest

from remit.domain.payment import EVENTS
from remit.oversight import metrics
from remit_infra.model.alarm import NAMESPACE
from remit_infra.model.alarms import ALARMS
from remit_infra.model.environments import Names
from remit_infra.model.monitoring import Graphs
from remit_infra.topologies.fargate_aurora import monitoring as fargate_aurora
from remit_infra.topologies.lambda_dynamodb import monitoring as lambda_dynamodb
from remit_infra.topologies.lambda_postgres import monitoring as lambda_postgres

NAMES = Names("dev")
COUNTED = {
    *EVENTS.values(),
    *metrics.CHECKS.values(),
    *(metrics.DEAD_LETTERS, metrics.FAILED, metrics.OTHER_CHECKS, metrics.OUTBOX_AGE),
}


def test_every_alarm_on_the_service_has_a_metric_that_the_service_counts() -> None:
    own = {
        metric.name for alarm in ALARMS for metric in alarm.metrics if metric.namespace == NAMESPACE
    }
    assert own - COUNTED == set()
    assert metrics.OUTBOX_AGE in own


@pytest.mark.parametrize(
    "graphs",
    [
        fargate_aurora.graphs_of(fargate_aurora.scopes_of(NAMES)),
        lambda_dynamodb.graphs_of(lambda_dynamodb.scopes_of(NAMES)),
        lambda_postgres.graphs_of(lambda_postgres.scopes_of(NAMES)),
    ],
    ids=["fargate-aurora", "lambda-dynamodb", "lambda-postgres"],
)
def test_every_graph_of_the_service_shows_metrics_that_the_service_counts(graphs: Graphs) -> None:
    own = {
        line.metric for lines in graphs.values() for line in lines if line.namespace == NAMESPACE
    }
    assert own - COUNTED == set()
    assert {line.metric for line in graphs["Payments"]} == {
        "payment_intent.created",
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
    }
