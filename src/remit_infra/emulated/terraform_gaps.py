"""What the emulator lacks for Terraform's AWS provider: resources and arguments that are left out
or changed, and the drift that the provider sees afterwards. Each has its reason.
"""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from remit.clock_and_ids import new_secret
from remit_infra.emulated.emulator import with_batch_actions
from remit_infra.graph.terraform import Adapt

LEFT_OUT: Mapping[str, str] = MappingProxyType(
    {
        "aws_appautoscaling_policy": "The emulator has no Application Auto Scaling.",
        "aws_appautoscaling_target": "The emulator has no Application Auto Scaling.",
        "aws_codedeploy_app": "The emulator has no CodeDeploy.",
        "aws_codedeploy_deployment_group": "The emulator has no CodeDeploy.",
        "aws_wafv2_web_acl_logging_configuration": "Its WAF has no logging.",
    }
)
"""Types that are not applied, with the reason. They are still validated and planned."""

DRIFT: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        # It describes an alarm in a protocol that this provider does not read.
        "aws_cloudwatch_metric_alarm": frozenset(
            {
                *("actions_enabled", "alarm_actions", "alarm_description", "dimensions"),
                *("ok_actions", "period", "statistic", "treat_missing_data"),
            }
        ),
        # It keeps neither a user's authentication mode nor the parameters that a group inherits.
        "aws_elasticache_user": frozenset({"authentication_mode"}),
        "aws_elasticache_parameter_group": frozenset({"parameter"}),
        "aws_elasticache_replication_group": frozenset({"auto_minor_version_upgrade"}),
        "aws_ecs_service": frozenset({"availability_zone_rebalancing"}),
        "aws_rds_cluster": frozenset(
            {"enabled_cloudwatch_logs_exports", "serverlessv2_scaling_configuration"}
        ),
        # It keeps the spaces in the policy, and AWS does not.
        "aws_sqs_queue": frozenset({"redrive_policy"}),
        "aws_rds_cluster_instance": frozenset({"performance_insights_kms_key_id"}),
        "aws_db_instance": frozenset(
            {"enabled_cloudwatch_logs_exports", "performance_insights_kms_key_id"}
        ),
        # It does not keep most of a flow log, so the provider would replace it.
        "aws_flow_log": frozenset(
            {
                *("arn", "deliver_cross_account_role", "iam_role_arn", "id", "log_format"),
                *("log_group_name", "max_aggregation_interval", "tags", "tags_all"),
            }
        ),
    }
)
"""The attributes that the emulator does not return as they were set, by type."""

NOT_KEPT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "aws_elasticache_replication_group": ("ip_discovery", "kms_key_id", "network_type"),
        "aws_lb_target_group": ("ip_address_type",),
        # It has no IPv6 addresses, so a network has IPv4 addresses only.
        "aws_subnet": (
            *("assign_ipv6_address_on_creation", "enable_dns64", "ipv6_cidr_block", "ipv6_native"),
            "enable_resource_name_dns_aaaa_record_on_launch",
        ),
        "aws_vpc": ("assign_generated_ipv6_cidr_block",),
    }
)
"""The arguments that the emulator does not keep, so that the provider would replace the resource,
by type.
"""

IPV6_BLOCK = "2001:db8:1234:1a00::/56"
"""The IPv6 block of the network in rules (RFC 3849)."""

CLUSTER_ENDPOINT = "${aws_rds_cluster.payment-db.endpoint}"
NAMESPACE_CONDITION = "cloudwatch:namespace"
"""A condition that the emulator does not support and evaluates as false."""

MANAGED_SECRET = ".master_user_secret[0].secret_arn}"  # nosec B105 - a reference


def adapt_to_emulator(port: int, secret_arn: str) -> Adapt:
    """Adapts resources to the emulator, where the database listens on that port of this machine and
    its password is in the secret.
    """

    def adapt(type_: str, given: dict[str, Any]) -> dict[str, Any] | None:
        if type_ in LEFT_OUT or "destination_ipv6_cidr_block" in given:
            return None
        arguments = _replace_references(type_, given, secret_arn, f"localhost:{port}")
        match type_:
            case "aws_db_instance":
                # The emulator runs no database, and makes no secret for a managed password.
                return arguments | {"port": port}
            case "aws_api_gateway_api_key":
                # AWS generates a value, and the emulator does not.
                return arguments | {"value": new_secret()}
            case "aws_network_acl":
                # The emulator returns all associations when it is asked for those of one subnet.
                return {name: arguments[name] for name in arguments if name != "subnet_ids"}
            case "aws_iam_role_policy":
                return arguments | {"policy": _adapt_policy(arguments["policy"])}
            case _:
                return arguments

    return adapt


def _replace_references(
    type_: str, given: dict[str, Any], secret_arn: str, database: str
) -> dict[str, Any]:
    # The emulator changes a cluster's endpoint when the cluster gets an instance.
    text = _replace_secret(json.dumps(given), secret_arn).replace(CLUSTER_ENDPOINT, database)
    arguments: dict[str, Any] = json.loads(_IPV6.sub(IPV6_BLOCK, text))
    if type_ == "aws_subnet" and "cidr_block" not in arguments:
        # An IPv6-only subnet gets an IPv4 block of its own number.
        number = int(_NUMBER.findall(given["ipv6_cidr_block"])[0])
        arguments["cidr_block"] = f"${{cidrsubnet(aws_vpc.payment-vpc.cidr_block, 4, {number})}}"
    return {name: arguments[name] for name in arguments if name not in NOT_KEPT.get(type_, ())}


_IPV6 = re.compile(r"\$\{aws_vpc\.[a-z-]+\.ipv6_cidr_block\}")
_NUMBER = re.compile(r"8, (\d+)\)")


def _replace_secret(text: str, secret_arn: str) -> str:
    """The text with the secret's ARN in place of references to a managed secret."""
    before, reference_end, after = text.partition(MANAGED_SECRET)
    if not reference_end:
        return text
    return _replace_secret(before.rpartition("${")[0] + secret_arn + after, secret_arn)


def _adapt_policy(policy: str) -> str:
    document = json.loads(policy)
    for statement in document["Statement"]:
        statement["Action"] = with_batch_actions(statement["Action"])
        if NAMESPACE_CONDITION in statement.get("Condition", {}).get("StringEquals", {}):
            del statement["Condition"]
    return json.dumps(document)


def drift(plan: Mapping[str, Any]) -> list[str]:
    """The changes in a plan, one line for each resource, without those in `DRIFT`."""
    changes = []
    for resource in plan["resource_changes"]:
        change = resource["change"]
        if change["actions"] == ["no-op"]:
            continue
        before, after = change["before"] or {}, change["after"] or {}
        changed = {name for name in before | after if before.get(name) != after.get(name)}
        if unknown := changed - DRIFT.get(resource["type"], frozenset()):
            action, names = change["actions"][0], ", ".join(sorted(unknown))
            changes.append(f"{resource['address']} {action}: {names}")
    return changes
