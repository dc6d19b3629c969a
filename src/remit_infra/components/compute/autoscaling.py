"""Target tracking: the metrics and target values by which a service is scaled."""

import pulumi
import pulumi_aws as aws

SCALE_OUT_SECONDS, SCALE_IN_SECONDS = 60, 300

TargetTracking = aws.appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationArgsDict


def by_cpu(percent: float) -> TargetTracking:
    """The average processor use of the service's tasks."""
    return {
        "scale_out_cooldown": SCALE_OUT_SECONDS,
        "scale_in_cooldown": SCALE_IN_SECONDS,
        "target_value": percent,
        "predefined_metric_specification": {
            "predefined_metric_type": "ECSServiceAverageCPUUtilization"
        },
    }


def by_requests(
    requests_per_minute: float, balancer: aws.lb.LoadBalancer, target_group: aws.lb.TargetGroup
) -> TargetTracking:
    """The requests of one minute for each task behind the load balancer."""
    label = pulumi.Output.concat(balancer.arn_suffix, "/", target_group.arn_suffix)
    return {
        "scale_out_cooldown": SCALE_OUT_SECONDS,
        "scale_in_cooldown": SCALE_IN_SECONDS,
        "target_value": requests_per_minute,
        "predefined_metric_specification": {
            "predefined_metric_type": "ALBRequestCountPerTarget",
            "resource_label": label,
        },
    }


def by_queue_depth(messages: float, queue_name: pulumi.Input[str]) -> TargetTracking:
    """The visible messages of the queue, whatever the number of tasks."""
    return {
        "scale_out_cooldown": SCALE_OUT_SECONDS,
        "scale_in_cooldown": SCALE_IN_SECONDS,
        "target_value": messages,
        "customized_metric_specification": {
            "namespace": "AWS/SQS",
            "metric_name": "ApproximateNumberOfMessagesVisible",
            "statistic": "Average",
            "dimensions": [{"name": "QueueName", "value": queue_name}],
        },
    }
