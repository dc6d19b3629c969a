"""The pictures in docs/images are what the programs draw now; `make pictures` draws them again."""

import itertools
import re
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from remit_infra.graph.graph import Graph
from remit_infra.plan.diagram import diagram_of
from remit_infra.plan.plan import TOPOLOGIES
from tests.infra.pictures import IMAGES, pictures
from tests.tidy.tree import ROOT, files, text

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("recorded")]

CHARTS = ("compare", "cost")
MAX_PNG_BYTES = 300_000
MAX_CROSSINGS = 6
SVG = "{http://www.w3.org/2000/svg}"
Point = tuple[float, float]


@pytest.fixture(scope="module")
def drawn(
    prod_graphs: dict[str, Graph], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Every picture drawn anew, by the name of its file."""
    folder = tmp_path_factory.mktemp("images")
    return {path.name: path for one in pictures(prod_graphs) for path in one.draw(folder)}


def test_every_picture_is_kept_in_each_form(drawn: dict[str, Path]) -> None:
    assert drawn.keys() - {path.name for path in IMAGES.iterdir()} == set()


@pytest.mark.parametrize(
    "name", [*(f"{one}.d2" for one in TOPOLOGIES), "compare.json", "cost.json"]
)
def test_a_picture_is_kept_with_the_text_that_the_program_draws_it_from(
    drawn: dict[str, Path], name: str
) -> None:
    assert text(IMAGES / name) == text(drawn[name])


@pytest.mark.parametrize("name", [*TOPOLOGIES, *CHARTS])
def test_a_kept_svg_says_what_the_program_draws(drawn: dict[str, Path], name: str) -> None:
    """Places can differ in a last digit between machines, so the words are compared."""
    assert words(IMAGES / f"{name}.svg") == words(drawn[f"{name}.svg"])


@pytest.mark.parametrize("name", [*TOPOLOGIES, *CHARTS])
def test_a_kept_png_is_small_and_as_large_as_the_program_draws_it(
    drawn: dict[str, Path], name: str
) -> None:
    kept = IMAGES / f"{name}.png"
    assert kept.stat().st_size < MAX_PNG_BYTES
    for ours, theirs in zip(png_size(kept), png_size(drawn[f"{name}.png"]), strict=True):
        assert abs(ours - theirs) <= 2


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_diagram_shows_every_label_and_an_arrowhead_for_every_arrow(
    prod_graphs: dict[str, Graph], topology: str
) -> None:
    diagram, kept = diagram_of(prod_graphs[topology]), IMAGES / f"{topology}.svg"
    labels = {
        *(boundary.label for boundary in diagram.boundaries),
        *(arrow.label for arrow in diagram.arrows),
        *(line for box in diagram.boxes for line in (box.heading, *box.lines)),
    }
    assert {label for label in labels if label not in set(words(kept))} == set()
    connections = list(connections_of(kept))
    assert len(connections) == len(diagram.arrows)
    assert all("marker-end" in path.attrib for path in connections)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_few_arrows_of_a_diagram_cross_and_none_lies_on_another_or_is_slanted(
    topology: str,
) -> None:
    """With more, try other seeds in `d2.py`."""
    lines = [list(segments(path)) for path in connections_of(IMAGES / f"{topology}.svg")]
    pairs = [
        (one, other)
        for first, second in itertools.combinations(lines, 2)
        for one in first
        for other in second
    ]
    assert sum(cross(*pair) for pair in pairs) <= MAX_CROSSINGS
    assert [pair for pair in pairs if lie_on_each_other(*pair)] == []
    assert [one for line in lines for one in line if is_slanted(*one)] == []


def test_a_chart_has_axes_with_units_and_words_beside_its_lines() -> None:
    shown = set(words(IMAGES / "compare.svg"))
    assert {"payments a month", "USD a month", "1 million", *TOPOLOGIES} <= shown
    assert any("costs less than" in one for one in shown)
    shown = set(words(IMAGES / "cost.svg"))
    assert {"USD a month", "without payments", "added by 100,000 payments a day"} <= shown


def test_every_picture_is_shown_in_the_readme_and_in_a_document() -> None:
    pages = {path.name: text(path) for path in files(".md") if path.parent in (ROOT, ROOT / "docs")}
    for name in (*TOPOLOGIES, *CHARTS):
        assert f"docs/images/{name}.png" in pages["README.md"]
        shown_in = [page for page, words in pages.items() if f"(images/{name}.png)" in words]
        assert shown_in == ["cost.md" if name in CHARTS else f"{name}.md"]


def words(svg: Path) -> list[str]:
    """Every text of a picture, each as a person reads it."""
    texts = ElementTree.parse(svg).getroot().iter(f"{SVG}text")
    found = ("".join(one.itertext()).strip() for one in texts)
    return sorted(one for one in found if one)


def connections_of(svg: Path) -> Iterator[ElementTree.Element]:
    for path in ElementTree.parse(svg).getroot().iter(f"{SVG}path"):
        if "connection" in path.get("class", "").split():
            yield path


def segments(path: ElementTree.Element) -> Iterator[tuple[Point, Point]]:
    """The straight parts of a path; D2 writes `M x y L x y S x y x y`, an S for a round corner."""
    numbers = [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", path.attrib["d"])]
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    yield from itertools.pairwise(points)


def cross(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    def side_of(line: tuple[Point, Point], point: Point) -> float:
        (x1, y1), (x2, y2) = line
        return (x2 - x1) * (point[1] - y1) - (y2 - y1) * (point[0] - x1)

    def parts(line: tuple[Point, Point], points: tuple[Point, Point]) -> bool:
        return side_of(line, points[0]) * side_of(line, points[1]) < 0

    return parts(one, other) and parts(other, one)


def lie_on_each_other(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    """For more than a few pixels, in parallel to an axis."""
    for axis in (0, 1):
        (first, second), (third, fourth) = one, other
        across = {first[axis], second[axis], third[axis], fourth[axis]}
        if max(across) - min(across) < 2:
            along = 1 - axis
            start = max(min(first[along], second[along]), min(third[along], fourth[along]))
            end = min(max(first[along], second[along]), max(third[along], fourth[along]))
            if end - start > 5:
                return True
    return False


def is_slanted(start: Point, end: Point) -> bool:
    """Neither upright nor level, nor the ten pixels of a round corner."""
    return all(abs(start[axis] - end[axis]) > 12 for axis in (0, 1))


def png_size(path: Path) -> tuple[int, int]:
    """Width and height, from the header of the file."""
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    return width, height
