"""The code that the documents show, as a reader copies it."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.tidy.tree import ROOT, files, name, text

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"\s+# .*$")


def pages() -> list[Path]:
    """Every document for readers. The decisions tell what was, so they are not among them."""
    return [page for page in files(".md") if page.parent != ROOT / "docs/decisions"]


def blocks(page: Path) -> list[str]:
    """The code in a page that has no language, which means a shell's."""
    return [block for language, block in _BLOCK.findall(text(page)) if not language]


def commands(program: str) -> Iterator[tuple[str, str]]:
    """Each page and each line of it that starts with, or evaluates, this program."""
    for page in pages():
        for block in blocks(page):
            for line in _lines(block):
                if re.match(rf'(?:\.venv/bin/|eval "\$\()?{program}\b', line):
                    yield name(page), line


def _lines(block: str) -> Iterator[str]:
    """Each command of a block, on one line: a quotation or a backslash joins the next to it."""
    begun = ""
    for line in block.replace("\\\n", " ").splitlines():
        begun += _COMMENT.sub("", line)
        if begun.count("'") % 2 == 0:
            yield re.sub(r" {2,}(?!#)", " ", begun)
            begun = ""
