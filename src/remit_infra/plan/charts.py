"""What a topology costs and how the topologies compare, as charts: Vega-Lite specifications, which
are data, and the program that draws them (vega.github.io/vega-lite).
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import vl_convert

from remit_infra.plan.compare import MOST, CostComparison, Crossover, Lines, total
from remit_infra.plan.cost import ServiceCost

Spec = dict[str, Any]

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
"""Colours that people with any kind of colour blindness tell apart (Okabe and Ito)."""

INK, GREY = "#232F3E", "#5B6B7C"
CONFIG: Spec = {
    "background": "white",
    "padding": 16,
    "font": "Helvetica, Arial, sans-serif",
    "title": {"anchor": "start", "fontSize": 18, "subtitleFontSize": 13, "offset": 14}
    | {"color": INK, "subtitleColor": GREY, "subtitlePadding": 6},
    "axis": {"labelFontSize": 13, "titleFontSize": 13, "titleColor": GREY, "labelColor": INK}
    | {"titleFontWeight": "normal", "titlePadding": 10, "gridColor": "#E3E8EE"},
    "legend": {"labelFontSize": 13, "labelLimit": 400, "orient": "top"}
    | {"title": None, "offset": 8},
    "view": {"stroke": None},
}

SMALLEST_DOLLARS = 0.05
"""Services that cost less are not in the chart of costs; they are in the total."""

FEWEST, POINTS_A_DECADE = 10_000, 12
IN_WORDS = (
    "datum.value >= 1e9 ? datum.value / 1e9 + ' billion' : "
    "datum.value >= 1e6 ? datum.value / 1e6 + ' million' : format(datum.value, ',')"
)
CORNERS: Mapping[bool, Spec] = {
    True: {"align": "left", "dx": 10, "dy": 22},
    False: {"align": "right", "dx": -10, "dy": -30},
}
"""Where the words beside a crossover stand. Costs rise with payments, so below and to the right of
the lowest lines' crossover is room, and above and to the left of one of higher lines.
"""

PNG_SCALE = 1.5


def cost_chart(title: str, services: Sequence[ServiceCost], payments_a_day: int) -> Spec:
    """A bar for each AWS service: what it costs without payments, and what they add."""
    shown = [one for one in services if one.total >= SMALLEST_DOLLARS]
    parts = ("without payments", f"added by {payments_a_day:,} payments a day")
    bars = [
        {"service": one.service, "part": part, "order": order, "dollars": round(dollars, 2)}
        for one in shown
        for order, (part, dollars) in enumerate(zip(parts, one[1:], strict=True))
    ]
    ends = [
        {"service": one.service, "dollars": round(one.total, 2), "label": f"{one.total:,.2f}"}
        for one in shown
    ]
    names: Spec = {"field": "service", "type": "nominal", "title": None}
    names["sort"] = [one.service for one in shown]
    names["axis"] = {"ticks": False, "domain": False, "labelPadding": 8}
    dollars: Spec = {"field": "dollars", "type": "quantitative", "title": "USD a month"}
    bar = {
        "data": {"values": bars},
        "mark": {"type": "bar", "height": {"band": 0.7}},
        "encoding": {
            "y": names,
            "x": dollars | {"stack": "zero", "axis": {"tickCount": 6}},
            "order": {"field": "order"},
            "color": {
                "field": "part",
                "type": "nominal",
                "scale": {"domain": parts, "range": [BLUE, ORANGE]},
            },
        },
    }
    label = {
        "data": {"values": ends},
        "mark": {"type": "text", "align": "left", "dx": 6, "fontSize": 13, "color": INK},
        "encoding": {"y": names, "x": dollars, "text": {"field": "label"}},
    }
    all_dollars = sum(one.total for one in services)
    subtitle = f"{all_dollars:,.2f} USD a month in all, before any free tier"
    return _chart(title, subtitle, [bar, label], width=640, height=28 * len(shown))


def compare_chart(title: str, lines: Lines, comparison: CostComparison) -> Spec:
    """A line for each topology over payments a month, both axes logarithmic, and each crossover."""
    marks = _powers(FEWEST, MOST, POINTS_A_DECADE)
    points = [
        {"topology": topology, "payments": payments, "dollars": round(total(own, payments), 2)}
        for topology, own in lines.items()
        for payments in marks
    ]
    lowest = {one.payments for one in comparison.cheapest}
    crossovers = [
        {
            "payments": one.payments,
            "dollars": round(one.month, 2),
            "label": _crossover_label(one),
            "is_lowest": one.payments in lowest,
        }
        for one in comparison.crossovers
        if one.payments >= FEWEST
    ]
    layers = _compare_layers(sorted(lines), points, crossovers)
    first, *others = comparison.cheapest
    later = [f"; from {_in_words(one.payments)} payments on it is {one.topology}" for one in others]
    subtitle = f"The cheapest is {first.topology}{''.join(later)}. Both axes are logarithmic."
    return _chart(title, subtitle, layers, width=640, height=420)


def _compare_layers(
    topologies: list[str], points: list[Spec], crossovers: list[Spec]
) -> list[Spec]:
    logarithmic = {"type": "log", "nice": False, "domain": [FEWEST, MOST]}
    payments = {"values": _powers(FEWEST, MOST), "labelExpr": IN_WORDS}
    dollars = {"values": _powers(1, 1_000_000), "format": ",.0f"}
    at = {
        "x": {"field": "payments", "type": "quantitative", "title": "payments a month"}
        | {"scale": logarithmic, "axis": payments},
        "y": {"field": "dollars", "type": "quantitative", "title": "USD a month"}
        | {"scale": {"type": "log", "nice": True}, "axis": dollars},
    }
    scale = {"domain": topologies, "range": [BLUE, ORANGE, GREEN]}
    colour = {"field": "topology", "type": "nominal", "scale": scale, "legend": None}
    text = {"type": "text", "align": "left", "fontSize": 13}
    return [
        {
            "data": {"values": points},
            "mark": {"type": "line", "strokeWidth": 2.5},
            "encoding": at | {"color": colour},
        },
        {
            "data": {"values": [point for point in points if point["payments"] == MOST]},
            "mark": text | {"dx": 8, "fontWeight": "bold"},
            "encoding": at | {"color": colour, "text": {"field": "topology"}},
        },
        {
            "data": {"values": crossovers},
            "mark": {"type": "point", "filled": True, "size": 90, "color": INK, "opacity": 1},
            "encoding": at,
        },
        *(
            {
                "data": {"values": [one for one in crossovers if one["is_lowest"] == is_lowest]},
                "mark": text | corner | {"color": INK, "lineHeight": 17},
                "encoding": at | {"text": {"field": "label"}},
            }
            for is_lowest, corner in CORNERS.items()
        ),
    ]


def _chart(title: str, subtitle: str, layers: list[Spec], *, width: int, height: int) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "title": {"text": title, "subtitle": subtitle},
        "width": width,
        "height": height,
        "config": CONFIG,
        "layer": layers,
    }


def _crossover_label(one: Crossover) -> list[str]:
    return [
        f"from {_in_words(one.payments)} payments on ({one.month:,.0f} USD)",
        f"{one.above} costs less than {one.below}",
    ]


def _in_words(payments: int) -> str:
    return f"{payments / 1e6:,.1f} million" if payments >= 1e6 else f"{payments:,}"


def _powers(low: int, high: int, each: int = 1) -> list[int]:
    """The numbers from `low` to `high` that a logarithmic axis divides evenly: `each` a decade."""
    decades = round(math.log10(high / low))
    return [round(low * 10 ** (step / each)) for step in range(decades * each + 1)]


def write_chart(spec: Spec, target: Path) -> None:
    """Draws a specification as SVG or PNG, or writes it as JSON, by how the target's name ends.

    Raises OSError where the target cannot be written.
    """
    if target.suffix == ".png":
        target.write_bytes(vl_convert.vegalite_to_png(spec, scale=PNG_SCALE))
    elif target.suffix == ".svg":
        target.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
    else:
        target.write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")
