"""Where the resources of a topology stand: in which region, network, zones and tier of subnets.

Only `diagram.py` needs it. A place is read from the subnets that a resource is given.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from remit_infra.graph.graph import Graph, Resource, references
from remit_infra.graph.terraform_names import DYNAMIC_RESOURCE
from remit_infra.plan.flows import EGRESS_ONLY, FUNCTIONS, SERVICE, value

Place = tuple[str, ...]
"""The boundaries around something, from the outermost, and then its own name."""

GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "lambda": "AWS Lambda",
        "answering": "answer requests",
        "ecs": "Amazon ECS on AWS Fargate",
        "services": "services",
    }
)
"""Boundaries around code, and their labels."""


class Boundary(NamedTuple):
    """A frame around boxes. The last part of its place is the class that draws it."""

    place: Place
    label: str


class DiagramPlacement:
    """The place of each resource. `answering` are the names of what requests are sent to."""

    def __init__(self, graph: Graph, answering: Iterable[str]) -> None:
        self._answering = frozenset(answering)
        subnets = graph.of("aws:ec2/subnet:Subnet")
        self._tiers = {one.name: _tier(one) for one in subnets}
        self._subnet_groups = {
            value(one, "name"): references(value(one, "subnetIds"))
            for one in graph.of(
                "aws:rds/subnetGroup:SubnetGroup", "aws:elasticache/subnetGroup:SubnetGroup"
            )
        }
        zones = sorted({value(one, "availabilityZone") for one in subnets})
        networks = [value(one, "cidrBlock") for one in graph.of("aws:ec2/vpc:Vpc")]
        self._labels = {
            # A template does not say in which region it will be.
            "region": f"AWS Region {zones[0][:-1]}" if zones else "AWS Region",
            "vpc": f"Amazon VPC {', '.join(networks)}",
            "zones": f"Availability Zones {', '.join(zones)}",
            **{_tier(one): _tier_label(one) for one in subnets},
            **GROUPS,
        }

    def boundaries_around(self, resource: Resource) -> Place:
        """The boundaries around a resource."""
        place = self._network_place(resource)
        if resource.type in FUNCTIONS:
            place += ("lambda", "answering") if resource.name in self._answering else ("lambda",)
        elif resource.type == SERVICE:
            place += ("ecs", "services")
        elif resource.type == DYNAMIC_RESOURCE:
            place += ("ecs",)
        return place

    def _network_place(self, resource: Resource) -> Place:
        subnets = references(resource.properties) & self._tiers.keys()
        for key in ("dbSubnetGroupName", "subnetGroupName"):
            subnets |= self._subnet_groups.get(value(resource, key), set())
        if subnets:
            return self.of_subnet(min(subnets))
        return ("region", "vpc") if resource.type == EGRESS_ONLY else ("region",)

    def of_subnet(self, name: str) -> Place:
        """The tier that a subnet belongs to, in all zones; nothing for what is no subnet."""
        return ("region", "vpc", "zones", self._tiers[name]) if name in self._tiers else ()

    def boundaries(self, places: Iterable[Place]) -> list[Boundary]:
        """The boundaries around some places, each before those within it."""
        around = {place[:depth] for place in places for depth in range(1, len(place))}
        return [Boundary(place, self._labels[place[-1]]) for place in sorted(around)]


def _tier(subnet: Resource) -> str:
    """What a subnet and those like it in other zones are for: `payment-data-subnet-1`."""
    return subnet.name.removeprefix("payment-").partition("-subnet-")[0]


def _tier_label(subnet: Resource) -> str:
    families = " (IPv6 only)" if value(subnet, "ipv6Native") else ""
    return f"{_tier(subnet).capitalize()} subnets{families}"
