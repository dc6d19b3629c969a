"""How many tasks a service has: from the environment's least to its most, by targets."""

from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from remit_infra.components.compute.containers import Cluster, Service

OUT_SECONDS, IN_SECONDS = 60, 300
DIMENSION = "ecs:service:DesiredCount"

Tracking = aws.appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationArgsDict


class Scaling(pulumi.ComponentResource):
    """Each target adds tasks within a minute, and none takes them away while another wants them."""

    def __init__(
        self,
        cluster: Cluster,
        service: Service,
        name: str,
        *,
        tasks: tuple[int, int],
        targets: Mapping[str, Tracking],
    ) -> None:
        super().__init__("remit:scaling:Scaling", f"{name}-scaling")
        under = pulumi.ResourceOptions(parent=self)
        scaled = aws.appautoscaling.Target(
            f"{name}-tasks",
            service_namespace="ecs",
            resource_id=pulumi.Output.concat(
                "service/", cluster.cluster.name, "/", service.service.name
            ),
            scalable_dimension=DIMENSION,
            min_capacity=tasks[0],
            max_capacity=tasks[1],
            opts=under,
        )
        for target, metric in targets.items():
            aws.appautoscaling.Policy(
                f"{name}-by-{target}",
                name=f"{service.name}-by-{target}",
                policy_type="TargetTrackingScaling",
                service_namespace="ecs",
                resource_id=scaled.resource_id,
                scalable_dimension=scaled.scalable_dimension,
                target_tracking_scaling_policy_configuration=metric,
                opts=under,
            )
        self.register_outputs({})


def by_cpu(percent: float) -> Tracking:
    return {
        "scale_out_cooldown": OUT_SECONDS,
        "scale_in_cooldown": IN_SECONDS,
        "target_value": percent,
        "predefined_metric_specification": {
            "predefined_metric_type": "ECSServiceAverageCPUUtilization"
        },
    }


def by_requests(
    each_minute: float, balancer: aws.lb.LoadBalancer, target: aws.lb.TargetGroup
) -> Tracking:
    """Requests in a minute for each task behind the load balancer."""
    return {
        "scale_out_cooldown": OUT_SECONDS,
        "scale_in_cooldown": IN_SECONDS,
        "target_value": each_minute,
        "predefined_metric_specification": {
            "predefined_metric_type": "ALBRequestCountPerTarget",
            "resource_label": pulumi.Output.concat(balancer.arn_suffix, "/", target.arn_suffix),
        },
    }


def by_queue_depth(messages: float, queue: pulumi.Input[str]) -> Tracking:
    """Messages that wait in the queue, whichever number of tasks there is."""
    return {
        "scale_out_cooldown": OUT_SECONDS,
        "scale_in_cooldown": IN_SECONDS,
        "target_value": messages,
        "customized_metric_specification": {
            "namespace": "AWS/SQS",
            "metric_name": "ApproximateNumberOfMessagesVisible",
            "statistic": "Average",
            "dimensions": [{"name": "QueueName", "value": queue}],
        },
    }
