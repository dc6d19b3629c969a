"""The web firewall before everything that the internet can reach."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Ground
from remit_infra.model.gateway import COUNTED_RULES, FIREWALL_RULES, REDACTED_HEADERS


class Firewall(pulumi.ComponentResource):
    """AWS's rules for common attacks, and a rate for each address in five minutes."""

    def __init__(
        self,
        ground: Ground,
        *,
        protected: Mapping[str, pulumi.Input[str]],
        requests_per_address: int,
    ) -> None:
        super().__init__("remit:firewall:Firewall", "firewall")
        under = pulumi.ResourceOptions(parent=self)
        name = ground.names("web acl", "payment-waf")
        managed = [_managed(number, rule) for number, rule in enumerate(FIREWALL_RULES)]
        acl = aws.wafv2.WebAcl(
            "payment-waf",
            name=name,
            scope="REGIONAL",
            default_action=aws.wafv2.WebAclDefaultActionArgs(
                allow=aws.wafv2.WebAclDefaultActionAllowArgs()
            ),
            rules=[*managed, _rate(len(managed), requests_per_address)],
            visibility_config=_visible("payment-waf"),
            opts=under,
        )
        for what, arn in protected.items():
            aws.wafv2.WebAclAssociation(
                f"payment-waf-{what}", resource_arn=arn, web_acl_arn=acl.arn, opts=under
            )
        logs = ground.log_group("payment-waf-logs", f"aws-waf-logs-{name}", under)
        aws.wafv2.WebAclLoggingConfiguration(
            "payment-waf-logging",
            resource_arn=acl.arn,
            log_destination_configs=[logs.arn],
            redacted_fields=[{"single_header": {"name": header}} for header in REDACTED_HEADERS],
            opts=under,
        )
        self.register_outputs({"arn": acl.arn})


def _managed(priority: int, rule: str) -> aws.wafv2.WebAclRuleArgsDict:
    group: aws.wafv2.WebAclRuleStatementManagedRuleGroupStatementArgsDict = {
        "vendor_name": "AWS",
        "name": rule,
    }
    if rule in COUNTED_RULES:
        group["rule_action_overrides"] = [
            {"name": COUNTED_RULES[rule], "action_to_use": {"count": {}}}
        ]
    return {
        "name": rule,
        "priority": priority,
        "override_action": {"none": {}},
        "statement": {"managed_rule_group_statement": group},
        "visibility_config": _visible(rule),
    }


def _rate(priority: int, limit: int) -> aws.wafv2.WebAclRuleArgsDict:
    return {
        "name": "rate",
        "priority": priority,
        "action": {"block": {}},
        "statement": {"rate_based_statement": {"aggregate_key_type": "IP", "limit": limit}},
        "visibility_config": _visible("rate"),
    }


def _visible(metric: str) -> Any:
    return {
        "cloudwatch_metrics_enabled": True,
        "metric_name": metric,
        "sampled_requests_enabled": False,
    }
