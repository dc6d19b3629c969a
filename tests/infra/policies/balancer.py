"""The load balancer: in public, behind a firewall, and over TLS where there is a certificate."""

from collections.abc import Iterator

from remit_infra.graph.graph import Graph, references
from tests.infra.graphs import needs, of, one
from tests.infra.policies.policy import FARGATE, POSTGRES, PULUMI, policy

GUARDED = {POSTGRES: {"payment-alb", "payment-api-stage"}, FARGATE: {"payment-alb"}}
"""What the web firewall stands before."""


@policy(*PULUMI)
def the_load_balancer_is_public_logged_and_guarded(graph: Graph) -> Iterator[str]:
    balancer = one(graph, "lb/loadBalancer:LoadBalancer", "payment-alb")
    if not balancer.get("accessLogs", {}).get("enabled"):
        yield "requests are not logged"
    subnets = {n for n in references(balancer["subnets"]) if n.startswith("payment-public-subnet-")}
    public = {s.name for s in of(graph, "ec2/subnet:Subnet") if "-public-" in s.name}
    if references(balancer["subnets"]) != subnets or subnets != public:
        yield "it is not in the public subnets"
    associations = of(graph, "wafv2/webAclAssociation:WebAclAssociation")
    guarded = {n for one in associations for n in references(one.properties["resourceArn"])}
    if guarded != GUARDED[graph.topology]:
        yield f"the firewall stands before {sorted(guarded)}"


@policy(*PULUMI)
def requests_without_tls_are_redirected(graph: Graph) -> Iterator[str]:
    listeners = of(graph, "lb/listener:Listener")
    secure = [listener for listener in listeners if listener.properties["protocol"] == "HTTPS"]
    for listener in listeners:
        action = listener.properties["defaultActions"][0]["type"]
        if secure and listener not in secure and action != "redirect":
            yield f"{listener.name} answers without TLS"


@policy(POSTGRES)
def the_load_balancer_reaches_functions(graph: Graph) -> Iterator[str]:
    for attachment in of(graph, "lb/targetGroupAttachment:TargetGroupAttachment"):
        permission = attachment.name.replace("-function", "-permission")
        if permission not in needs(graph, attachment.name):
            yield f"{attachment.name} does not wait for the permission"
    for target in of(graph, "lb/targetGroup:TargetGroup"):
        check = target.properties.get("healthCheck", {})
        if target.properties["targetType"] != "lambda" or check.get("path") != "/health":
            yield f"{target.name} is no function with a health check"


@policy(FARGATE)
def the_load_balancer_lets_requests_finish(graph: Graph) -> Iterator[str]:
    target = one(graph, "lb/targetGroup:TargetGroup", "payment-tg")
    check = target.get("healthCheck", {})
    if (check.get("path"), check.get("interval")) != ("/live", 30):
        yield "tasks are not asked every 30 seconds whether they live"
    if not 15 <= target.get("deregistrationDelay", 0) <= 120:
        yield "requests have no time to finish"
