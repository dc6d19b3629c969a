"""What a chart shows: each figure of the estimate, and where two topologies cost the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from remit_infra.plan.charts import compare_chart, cost_chart, write_chart
from remit_infra.plan.compare import Lines, compare, total
from remit_infra.plan.cost import ServiceCost, by_service
from remit_infra.plan.pricing import Cost

LINES: Lines = {
    "no rent": [Cost("Lambda", "requests", 0.0, 60e-6)],
    "some rent": [Cost("RDS", "database", 100.0, 0.0), Cost("SNS", "messages", 20.0, 12e-6)],
    "much rent": [Cost("RDS", "database", 1_000.0, 1e-6)],
}


def values(spec: dict[str, Any], layer: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = spec["layer"][layer]["data"]["values"]
    return found


def test_services_are_added_up_with_the_dearest_first() -> None:
    lines = [
        Cost("SNS", "messages", 1.0, 2e-6),
        Cost("RDS", "database", 10.0, 0.0),
        Cost("SNS", "topics", 0.5, 0.0),
    ]
    assert by_service(lines, 10_000_000) == [
        ServiceCost("SNS", 1.5, 20.0),
        ServiceCost("RDS", 10.0, 0.0),
    ]


def test_a_chart_of_costs_has_a_bar_for_each_service_in_two_parts() -> None:
    services = [ServiceCost("RDS", 10.0, 2.5), ServiceCost("ECR", 0.01, 0.02)]
    spec = cost_chart("What it costs", services, 1_000)
    assert spec["title"] == {
        "text": "What it costs",
        "subtitle": "12.53 USD a month in all, before any free tier",
    }
    assert values(spec, 0) == [
        {"service": "RDS", "part": "without payments", "order": 0, "dollars": 10.0},
        {"service": "RDS", "part": "added by 1,000 payments a day", "order": 1, "dollars": 2.5},
    ]
    assert values(spec, 1) == [{"service": "RDS", "dollars": 12.5, "label": "12.50"}]


def test_a_chart_of_all_topologies_has_a_line_for_each_and_a_point_where_two_cross() -> None:
    spec = compare_chart("What they cost", LINES, compare(LINES))
    lines = values(spec, 0)
    assert {point["topology"] for point in lines} == LINES.keys()
    assert (lines[0]["payments"], lines[-1]["payments"]) == (10_000, 1_000_000_000)
    for point in lines:
        exact = total(LINES[point["topology"]], point["payments"])
        assert point["dollars"] == round(exact, 2)
    # 60 n = 120 + 12 n at 2.5 million, 60 n = 1000 + n at 16.9, and 120 + 12 n = 1000 + n at 80.
    assert [(point["payments"], point["is_lowest"]) for point in values(spec, 2)] == [
        (2_500_001, True),
        (16_949_153, False),
        (80_000_001, True),
    ]
    assert values(spec, 2)[0]["label"] == [
        "from 2.5 million payments on (150 USD)",
        "some rent costs less than no rent",
    ]
    assert spec["title"]["subtitle"] == (
        "The cheapest is no rent; from 2.5 million payments on it is some rent; "
        "from 80.0 million payments on it is much rent. Both axes are logarithmic."
    )


def test_the_words_of_each_crossover_stand_on_the_side_that_no_line_passes() -> None:
    spec = compare_chart("What they cost", LINES, compare(LINES))
    below, above = spec["layer"][3], spec["layer"][4]
    assert [one["is_lowest"] for one in below["data"]["values"]] == [True, True]
    assert (below["mark"]["align"], below["mark"]["dy"] > 0) == ("left", True)
    assert [one["is_lowest"] for one in above["data"]["values"]] == [False]
    assert (above["mark"]["align"], above["mark"]["dy"] < 0) == ("right", True)


@pytest.mark.parametrize(
    ("ending", "begins"), [(".svg", b"<svg "), (".png", b"\x89PNG"), (".json", b"{\n")]
)
def test_a_chart_is_written_as_its_name_ends(tmp_path: Path, ending: str, begins: bytes) -> None:
    spec = compare_chart("What they cost", LINES, compare(LINES))
    target = tmp_path / f"chart{ending}"
    write_chart(spec, target)
    assert target.read_bytes().startswith(begins)
    if ending == ".json":
        assert json.loads(target.read_bytes()) == json.loads(json.dumps(spec))
