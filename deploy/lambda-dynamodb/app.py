"""The stack for the CDK's own command line. `remit deploy lambda-dynamodb` needs none of this.

    cdk synth -c environmentSuffix=dev-test-001
    cdk deploy -c environmentSuffix=dev-test-001 --parameters CodeBucket=… --parameters CodeKey=…

The zip that the parameters name is made by `remit package`.
"""

# isort: off
from remit_infra.topologies.lambda_dynamodb.stack import LambdaDynamodbStack
from aws_cdk import App

app = App(analytics_reporting=False)
context = {
    "suffix": app.node.try_get_context("environmentSuffix"),
    "migration_date": app.node.try_get_context("migrationDate"),
    "alarm_email": app.node.try_get_context("alarmEmail"),
}
LambdaDynamodbStack(app, **{name: value for name, value in context.items() if value is not None})
app.synth()
