"""docs/requirements.md lists every requirement, each with a test that exists or an honest gap."""

import ast
import re

from tests.tidy.tree import ROOT, files, name, syntax, text

RANGES = {"A": (1, 18), "P": (1, 26), "S1-": (1, 15), "S2-": (0, 13), "S3-": (1, 11)}
NOT_BUILT = "not built yet"

# id, what is promised, what proves it
ROW = re.compile(r"^\| ([A-Z]\d\S*) \| (.+) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/\S+\.py::\w+)`")

rows = ROW.findall(text(ROOT / "docs/requirements.md"))


def test_every_requirement_is_listed_once_and_in_order() -> None:
    every = [
        f"{series}{n:02}"
        for series, (first, last) in RANGES.items()
        for n in range(first, last + 1)
    ]
    assert [id_ for id_, _, _ in rows] == every


def test_every_requirement_names_its_tests_or_says_it_is_not_built() -> None:
    unproven = [id_ for id_, _, proof in rows if not TEST.search(proof) and proof != NOT_BUILT]
    assert unproven == []


def test_every_test_a_requirement_names_exists() -> None:
    named = {test for _, _, proof in rows for test in TEST.findall(proof)}
    assert named - existing_tests() == set()


def existing_tests() -> set[str]:
    return {
        f"{name(path)}::{node.name}"
        for path in files(".py", "tests")
        for node in syntax(path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
