"""The pictures in docs/images, each from the programs themselves. `make pictures` draws them again.

Beside each SVG and PNG is the text that it is drawn from: D2's, or a Vega-Lite specification.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from remit_infra.graph.graph import Graph
from remit_infra.plan.charts import compare_chart, cost_chart, write_chart
from remit_infra.plan.compare import compare, graphs_of
from remit_infra.plan.cost import by_service, costs
from remit_infra.plan.d2 import d2_source, write_diagram
from remit_infra.plan.diagram import diagram_of
from remit_infra.plan.pricing import read_prices
from tests.tidy.tree import ROOT

IMAGES = ROOT / "docs/images"
COST_TOPOLOGY, COST_PAYMENTS_A_DAY = "fargate-aurora", 100_000
"""What the chart of costs shows: at so many payments both parts of a bar are seen."""


class Picture(NamedTuple):
    """Its name, the endings of its files with that of the text first, and what writes each."""

    name: str
    endings: tuple[str, str, str]
    write: Callable[[Path], None]

    def draw(self, folder: Path) -> list[Path]:
        paths = [folder / f"{self.name}{ending}" for ending in self.endings]
        for path in paths:
            self.write(path)
        return paths


def pictures(graphs: Mapping[str, Graph]) -> list[Picture]:
    """All of them, from the graphs of prod, which has everything that a topology can have."""
    prices = read_prices()
    lines = {topology: costs(graph, prices) for topology, graph in graphs.items()}
    charts = {
        "cost": cost_chart(
            f"What {COST_TOPOLOGY} costs in prod",
            by_service(lines[COST_TOPOLOGY], COST_PAYMENTS_A_DAY * 30),
            COST_PAYMENTS_A_DAY,
        ),
        "compare": compare_chart("What the topologies cost in prod", lines, compare(lines)),
    }
    return [
        *(
            Picture(
                topology,
                (".d2", ".svg", ".png"),
                partial(write_diagram, d2_source(diagram_of(graph))),
            )
            for topology, graph in graphs.items()
        ),
        *(
            Picture(name, (".json", ".svg", ".png"), partial(write_chart, spec))
            for name, spec in charts.items()
        ),
    ]


if __name__ == "__main__":
    for picture in pictures(graphs_of("prod")):
        picture.draw(IMAGES)
