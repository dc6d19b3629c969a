"""What the emulator lacks of what Terraform asks of AWS: left out or changed here, each with its
reason; and what the provider believes to have changed once it is applied.
"""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from remit.clock_and_ids import new_secret
from remit_infra.emulated.emulator import BATCHES
from remit_infra.graph.terraform import Adapt

LEFT_OUT: Mapping[str, str] = MappingProxyType(
    {
        "aws_appautoscaling_policy": "The emulator has no Application Auto Scaling.",
        "aws_appautoscaling_target": "The emulator has no Application Auto Scaling.",
        "aws_codedeploy_app": "The emulator has no CodeDeploy.",
        "aws_codedeploy_deployment_group": "The emulator has no CodeDeploy.",
        "aws_wafv2_web_acl_logging_configuration": "Its WAF does not know logging.",
    }
)
"""By type, why it is not applied. It is validated and planned all the same."""

DRIFT: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        # It answers an alarm in another protocol than this provider reads.
        "aws_cloudwatch_metric_alarm": frozenset(
            {
                *("actions_enabled", "alarm_actions", "alarm_description", "dimensions"),
                *("ok_actions", "period", "statistic", "treat_missing_data"),
            }
        ),
        # It knows neither how a user proves who it is nor what a group inherits.
        "aws_elasticache_user": frozenset({"authentication_mode"}),
        "aws_elasticache_parameter_group": frozenset({"parameter"}),
        "aws_elasticache_replication_group": frozenset({"auto_minor_version_upgrade"}),
        "aws_ecs_service": frozenset({"availability_zone_rebalancing"}),
        "aws_rds_cluster": frozenset(
            {"enabled_cloudwatch_logs_exports", "serverlessv2_scaling_configuration"}
        ),
        # It keeps the spaces of the policy, where AWS does not.
        "aws_sqs_queue": frozenset({"redrive_policy"}),
        "aws_rds_cluster_instance": frozenset({"performance_insights_kms_key_id"}),
        "aws_db_instance": frozenset(
            {"enabled_cloudwatch_logs_exports", "performance_insights_kms_key_id"}
        ),
        # It forgets most of a flow log, and the provider makes it anew.
        "aws_flow_log": frozenset(
            {
                *("arn", "deliver_cross_account_role", "iam_role_arn", "id", "log_format"),
                *("log_group_name", "max_aggregation_interval", "tags", "tags_all"),
            }
        ),
    }
)
"""By type, the attributes that the emulator does not give back as they were set."""

FORGOTTEN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "aws_elasticache_replication_group": ("ip_discovery", "kms_key_id", "network_type"),
        "aws_lb_target_group": ("ip_address_type",),
        # It has no addresses of IPv6, so a network has those of IPv4 alone.
        "aws_subnet": (
            *("assign_ipv6_address_on_creation", "enable_dns64", "ipv6_cidr_block", "ipv6_native"),
            "enable_resource_name_dns_aaaa_record_on_launch",
        ),
        "aws_vpc": ("assign_generated_ipv6_cidr_block",),
    }
)
"""By type, what the emulator forgets and for which the provider would make a resource anew."""

IPV6_BLOCK = "2001:db8:1234:1a00::/56"
"""Stands for the network's own in rules (RFC 3849)."""

CLUSTER = "${aws_rds_cluster.payment-db.endpoint}"
NAMESPACE = "cloudwatch:namespace"
"""A condition that the emulator does not know, and holds to be unmet."""

MANAGED = ".master_user_secret[0].secret_arn}"


def adapt_to_emulator(port: int, secret_arn: str) -> Adapt:
    """For a database that is in truth on that port of this machine, with its password in
    `secret_arn`.
    """

    def adapt(kind: str, given: dict[str, Any]) -> dict[str, Any] | None:
        if kind in LEFT_OUT or "destination_ipv6_cidr_block" in given:
            return None
        body = _changed(kind, given, secret_arn, f"localhost:{port}")
        match kind:
            case "aws_db_instance":
                # It listens nowhere, and makes no secret for an instance's own password.
                return body | {"port": port}
            case "aws_api_gateway_api_key":
                # AWS makes one that is not given.
                return body | {"value": new_secret()}
            case "aws_network_acl":
                # Asked for a subnet's association, it answers with every one there is.
                return {name: value for name, value in body.items() if name != "subnet_ids"}
            case "aws_iam_role_policy":
                return body | {"policy": _understood(body["policy"])}
            case _:
                return body

    return adapt


def _changed(kind: str, given: dict[str, Any], secret_arn: str, database: str) -> dict[str, Any]:
    # A cluster's endpoint is another one once it has an instance.
    text = _with_secret(json.dumps(given), secret_arn).replace(CLUSTER, database)
    body: dict[str, Any] = json.loads(_IPV6.sub(IPV6_BLOCK, text))
    if kind == "aws_subnet" and "cidr_block" not in body:
        # Numbered after the sixteenths that the other tiers have.
        number = int(_NUMBER.findall(given["ipv6_cidr_block"])[0])
        body["cidr_block"] = f"${{cidrsubnet(aws_vpc.payment-vpc.cidr_block, 4, {number})}}"
    return {name: body[name] for name in body if name not in FORGOTTEN.get(kind, ())}


_IPV6 = re.compile(r"\$\{aws_vpc\.[a-z-]+\.ipv6_cidr_block\}")
_NUMBER = re.compile(r"8, (\d+)\)")


def _with_secret(text: str, secret_arn: str) -> str:
    before, found, after = text.partition(MANAGED)
    if not found:
        return text
    return _with_secret(before.rpartition("${")[0] + secret_arn + after, secret_arn)


def _understood(policy: str) -> str:
    document = json.loads(policy)
    for statement in document["Statement"]:
        actions = statement["Action"]
        statement["Action"] = [*actions, *(BATCHES[one] for one in actions if one in BATCHES)]
        if NAMESPACE in statement.get("Condition", {}).get("StringEquals", {}):
            del statement["Condition"]
    return json.dumps(document)


def drift(plan: Mapping[str, Any]) -> list[str]:
    """What a plan would still change, but for what is known not to be kept; empty if nothing."""
    found = []
    for resource in plan["resource_changes"]:
        change = resource["change"]
        if change["actions"] == ["no-op"]:
            continue
        before, after = change["before"] or {}, change["after"] or {}
        changed = {name for name in before | after if before.get(name) != after.get(name)}
        if left := changed - DRIFT.get(resource["type"], frozenset()):
            found.append(f"{resource['address']} {change['actions'][0]}: {', '.join(sorted(left))}")
    return found
