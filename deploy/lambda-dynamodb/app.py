"""The program for the CDK's own command line, which `remit deploy lambda-dynamodb` does not use.

    cdk synth -c environmentSuffix=dev-test-001
    cdk deploy -c environmentSuffix=dev-test-001 --parameters CodeBucket=… --parameters CodeKey=…

The parameters name the zip of the functions in S3. `remit package` makes it.
"""

# isort: off
from remit_infra.topologies.lambda_dynamodb.stack import LambdaDynamodbStack
from aws_cdk import App

from remit_infra.topologies.lambda_dynamodb.configuration import LambdaDynamodbConfiguration

app = App(analytics_reporting=False)
options = {
    "suffix": app.node.try_get_context("environmentSuffix"),
    "migration_date": app.node.try_get_context("migrationDate"),
    "alarm_email": app.node.try_get_context("alarmEmail"),
}
given = {name: value for name, value in options.items() if value is not None}
LambdaDynamodbStack(app, LambdaDynamodbConfiguration(**given))
app.synth()
