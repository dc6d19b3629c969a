"""The documents lead somewhere: links to files that exist, `make` to targets that exist."""

import re

from tests.tidy.tree import ROOT, files, name, text

LINK = re.compile(r"\]\((?!\w+:|#)([^)\s#]+)[^)]*\)")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
MAKE = re.compile(r"\bmake (?:[A-Z]+=\S+ )*([a-z]+)")
TARGET = re.compile(r"^([a-z]+):", re.MULTILINE)


def test_every_relative_link_points_to_a_file() -> None:
    broken = [
        f"{name(page)} -> {link}"
        for page in files(".md")
        for link in LINK.findall(text(page))
        if not (page.parent / link).exists()
    ]
    assert broken == []


def test_every_make_command_in_the_documents_exists() -> None:
    targets = set(TARGET.findall(text(ROOT / "Makefile")))
    missing = [
        f"{name(page)}: make {target}"
        for page in files(".md")
        for code in CODE.findall(text(page))
        for target in MAKE.findall(code)
        if target not in targets
    ]
    assert missing == []
