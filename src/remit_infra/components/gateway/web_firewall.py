"""The web firewall (AWS WAF) before API Gateway and the load balancer."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Context
from remit_infra.model.gateway import COUNTED_RULES, FIREWALL_RULES, REDACTED_HEADERS


class WebFirewall(pulumi.ComponentResource):
    """AWS's managed rules, and a limit of requests from one address in five minutes. `protected`
    are the ARNs of what it protects, by a word for the resource's name.
    """

    def __init__(
        self,
        context: Context,
        *,
        protected: Mapping[str, pulumi.Input[str]],
        requests_per_address: int,
    ) -> None:
        super().__init__("remit:firewall:Firewall", "firewall")
        child = pulumi.ResourceOptions(parent=self)
        name = context.names("web acl", "payment-waf")
        managed_rules = [_managed_rule(*rule) for rule in enumerate(FIREWALL_RULES)]
        acl = aws.wafv2.WebAcl(
            "payment-waf",
            name=name,
            scope="REGIONAL",
            default_action=aws.wafv2.WebAclDefaultActionArgs(
                allow=aws.wafv2.WebAclDefaultActionAllowArgs()
            ),
            rules=[*managed_rules, _rate_rule(len(managed_rules), requests_per_address)],
            visibility_config=_visibility("payment-waf"),
            opts=child,
        )
        for word, arn in protected.items():
            aws.wafv2.WebAclAssociation(
                f"payment-waf-{word}", resource_arn=arn, web_acl_arn=acl.arn, opts=child
            )
        logs = context.log_group("payment-waf-logs", f"aws-waf-logs-{name}", child)
        aws.wafv2.WebAclLoggingConfiguration(
            "payment-waf-logging",
            resource_arn=acl.arn,
            log_destination_configs=[logs.arn],
            redacted_fields=[{"single_header": {"name": header}} for header in REDACTED_HEADERS],
            opts=child,
        )
        self.register_outputs({"arn": acl.arn})


def _managed_rule(priority: int, rule: str) -> aws.wafv2.WebAclRuleArgsDict:
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
        "visibility_config": _visibility(rule),
    }


def _rate_rule(priority: int, limit: int) -> aws.wafv2.WebAclRuleArgsDict:
    return {
        "name": "rate",
        "priority": priority,
        "action": {"block": {}},
        "statement": {"rate_based_statement": {"aggregate_key_type": "IP", "limit": limit}},
        "visibility_config": _visibility("rate"),
    }


def _visibility(metric: str) -> Any:
    return {
        "cloudwatch_metrics_enabled": True,
        "metric_name": metric,
        "sampled_requests_enabled": False,
    }
