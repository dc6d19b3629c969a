"""What can go wrong with the networks, and with the tasks in them."""

from tests.infra.mutations.mutation import (
    Change,
    Mutation,
    altered,
    both,
    giving,
    gone,
    in_text,
    unordered,
    without,
)
from tests.infra.policies import network, tasks
from tests.infra.policies.policy import FARGATE, POSTGRES, PULUMI

TASK = "ecs/taskDefinition:TaskDefinition"
SERVICE = "ecs/service:Service"
ROUTE = "ec2/route:Route"
MIGRATION = "pulumi-python:dynamic:Resource"
OLD_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/payment:1"


def in_container(change: Change) -> Change:
    return in_text("containerDefinitions", change)


MUTATIONS = {
    "a subnet with public addresses": Mutation(
        network.the_network_has_its_tiers_in_every_zone,
        PULUMI,
        altered("ec2/subnet:Subnet", "public-subnet-1", giving(mapPublicIpOnLaunch=True)),
    ),
    "a zone without a subnet": Mutation(
        network.the_network_has_its_tiers_in_every_zone,
        PULUMI,
        altered("ec2/subnet:Subnet", "public-subnet-1", gone),
    ),
    "a network without flow logs": Mutation(
        network.flows_are_logged, PULUMI, altered("ec2/flowLog:FlowLog", "", gone)
    ),
    "the NAT gateway does not wait for the internet gateway": Mutation(
        network.each_private_subnet_leaves_through_its_own_zone,
        (POSTGRES,),
        both(
            unordered("ec2/natGateway:NatGateway", ""),
            unordered("ec2/eip:Eip", ""),
            altered(ROUTE, "public", without("gatewayId")),
        ),
    ),
    "one NAT gateway for all": Mutation(
        network.each_private_subnet_leaves_through_its_own_zone,
        (POSTGRES,),
        altered(ROUTE, "private-route", giving(natGatewayId="${aws_nat_gateway.payment-nat-1.id}")),
    ),
    "a database in a public subnet": Mutation(
        network.only_the_load_balancer_is_in_public_subnets,
        (POSTGRES,),
        altered(
            "rds/subnetGroup:SubnetGroup",
            "",
            giving(subnetIds=["${aws_subnet.payment-public-subnet-1.id}"]),
        ),
    ),
    "a database open to the network": Mutation(
        network.who_reaches_whom_is_as_drawn,
        PULUMI,
        altered(
            "vpc/securityGroupIngressRule:SecurityGroupIngressRule",
            "payment-db",
            giving(referencedSecurityGroupId="", cidrIpv4="10.0.0.0/16"),
        ),
    ),
    "a tier without a network ACL": Mutation(
        network.network_acls_stand_before_every_tier,
        PULUMI,
        altered("ec2/networkAcl:NetworkAcl", "public", gone),
    ),
    "private tasks that reach nothing": Mutation(
        tasks.tasks_reach_aws_and_nobody_reaches_tasks,
        (FARGATE,),
        altered(ROUTE, "payment-task-route", gone),
    ),
    "tasks with addresses of IPv4, which lead nowhere": Mutation(
        tasks.tasks_reach_aws_and_nobody_reaches_tasks,
        (FARGATE,),
        altered(
            "ec2/subnet:Subnet", "task-subnet", giving(ipv6Native=False, cidrBlock="10.1.64.0/20")
        ),
    ),
    "tasks that the internet reaches": Mutation(
        tasks.tasks_reach_aws_and_nobody_reaches_tasks,
        (FARGATE,),
        altered(
            ROUTE, "payment-task-route", giving(gatewayId="${aws_internet_gateway.payment-igw.id}")
        ),
    ),
    "an image that only IPv4 reaches": Mutation(
        tasks.tasks_reach_aws_and_nobody_reaches_tasks,
        (FARGATE,),
        altered(TASK, "payment-task", in_container(giving(image=OLD_IMAGE))),
    ),
    "AWS asked over IPv4": Mutation(
        tasks.tasks_reach_aws_and_nobody_reaches_tasks,
        (FARGATE,),
        altered(TASK, "payment-worker", in_container(giving(environment=[]))),
    ),
    "a task without settings": Mutation(
        tasks.tasks_are_told_everything_but_secrets,
        (FARGATE,),
        altered(TASK, "payment-worker", in_container(giving(environment=[]))),
    ),
    "a root file system that can be written": Mutation(
        tasks.tasks_are_as_small_and_as_closed_as_they_can_be,
        (FARGATE,),
        altered(TASK, "payment-task", in_container(giving(readonlyRootFilesystem=False))),
    ),
    "a task as root": Mutation(
        tasks.tasks_are_as_small_and_as_closed_as_they_can_be,
        (FARGATE,),
        altered(TASK, "payment-task", in_container(giving(user="0"))),
    ),
    "a task without a health check": Mutation(
        tasks.tasks_are_as_small_and_as_closed_as_they_can_be,
        (FARGATE,),
        altered(TASK, "payment-worker", in_container(without("healthCheck"))),
    ),
    "two tasks with one role": Mutation(
        tasks.tasks_are_as_small_and_as_closed_as_they_can_be,
        (FARGATE,),
        altered(TASK, "payment-worker", giving(taskRoleArn="${aws_iam_role.payment-api-role.arn}")),
    ),
    "a service that is updated before the database": Mutation(
        tasks.services_heal_and_roll_back, (FARGATE,), unordered(SERVICE, "payment-service")
    ),
    "a deployment that does not roll back": Mutation(
        tasks.services_heal_and_roll_back,
        (FARGATE,),
        altered(SERVICE, "payment-service", without("deploymentCircuitBreaker")),
    ),
    "a deployment that no alarm stops": Mutation(
        tasks.services_heal_and_roll_back,
        (FARGATE,),
        altered(SERVICE, "payment-worker", without("alarms")),
    ),
    "a service that may be without a task": Mutation(
        tasks.services_heal_and_roll_back,
        (FARGATE,),
        altered(SERVICE, "payment-service", giving(deploymentMinimumHealthyPercent=0)),
    ),
    "a service that is not scaled": Mutation(
        tasks.services_are_scaled,
        (FARGATE,),
        altered("appautoscaling/target:Target", "payment-worker", gone),
    ),
    "a queue that no scaling looks at": Mutation(
        tasks.services_are_scaled,
        (FARGATE,),
        altered("appautoscaling/policy:Policy", "by-queue", gone),
    ),
    "a migration of the old image": Mutation(
        tasks.the_migration_runs_when_its_task_is_new,
        (FARGATE,),
        altered(MIGRATION, "", giving(task_definition="payment-task:1")),
    ),
    "a migration before there is a database": Mutation(
        tasks.the_migration_runs_when_its_task_is_new, (FARGATE,), unordered(MIGRATION, "")
    ),
    "a tag that comes to mean another image": Mutation(
        tasks.images_are_scanned_and_never_replaced,
        (FARGATE,),
        altered("ecr/repository:Repository", "", giving(imageTagMutability="MUTABLE")),
    ),
}
