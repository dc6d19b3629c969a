"""The house style that no linter checks: sizes, names, headers, and what may not be written."""

import ast
import re
import statistics
import tomllib
from collections.abc import Iterator

import pytest
from detect_secrets.core.scan import scan_file
from detect_secrets.settings import default_settings

from tests.tidy.tree import ROOT, files, name, syntax, text

FILE_LINES = 400
FUNCTION_LINES = 70
MEDIAN_FILE_LINES = 150
NAMES_THAT_SAY_NOTHING = {"base", "helper", "helpers", "manager", "managers", "util", "utils"}


@pytest.mark.xdist_group("together")
def test_a_group_of_tests_is_kept_together(request: pytest.FixtureRequest) -> None:
    """What is applied once for a group is otherwise applied by each worker."""
    is_grouping = getattr(request.config.option, "loadgroup", False)
    assert request.node.nodeid.endswith("@together") == is_grouping


def test_every_module_says_what_it_is_for() -> None:
    assert [name(p) for p in files(".py", "src") if not ast.get_docstring(syntax(p))] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    stems = {p: set(p.stem.split("_")) for p in files(".py", "src")}
    assert [name(p) for p, words in stems.items() if words & NAMES_THAT_SAY_NOTHING] == []


def test_files_are_short() -> None:
    assert [name(p) for p in files(".py") if lines(text(p)) >= FILE_LINES] == []


def test_most_files_are_much_shorter() -> None:
    sizes = [lines(text(p)) for p in files(".py", "src")]
    assert statistics.median(sizes) < MEDIAN_FILE_LINES


def test_functions_fit_on_a_screen() -> None:
    assert list(long_functions()) == []


def test_no_except_is_bare() -> None:
    assert [
        f"{name(p)}:{node.lineno}"
        for p in files(".py")
        for node in ast.walk(syntax(p))
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ] == []


def test_nothing_is_left_for_later() -> None:
    assert found(r"\b(?:[T]ODO|[F]IXME|[X]XX)\b") == []


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    assert found(r"(?<![\w.)}])/(?:work|root|home|Users)/") == []


def test_locks_hold_no_addresses() -> None:
    assert found(r"https?://|file:|--(?:extra-)?index-url|--find-links", ".lock") == []


def test_no_file_holds_a_secret() -> None:
    readable = [p for p in files() if p.suffix != ".lock"]
    with default_settings():
        secrets = [str(secret) for p in readable for secret in scan_file(str(p))]
    assert secrets == []


def test_every_dependency_says_why_it_is_there() -> None:
    written = text(ROOT / "pyproject.toml")
    assert [d for d in dependencies() if not re.search(rf'"{re.escape(d)}",  # \w', written)] == []


def lines(source: str) -> int:
    return source.count("\n")


def long_functions() -> Iterator[str]:
    for path in files(".py"):
        for node in ast.walk(syntax(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno >= FUNCTION_LINES:
                    yield f"{name(path)}:{node.lineno} {node.name}"


def found(pattern: str, suffix: str = "") -> list[str]:
    """Where a pattern is written; the bytes of a picture can look like anything."""
    return [
        f"{name(path)}:{number} {line.strip()}"
        for path in files(suffix)
        if path.suffix != ".png"
        for number, line in enumerate(text(path).splitlines(), start=1)
        if re.search(pattern, line)
    ]


def dependencies() -> list[str]:
    declared = tomllib.loads(text(ROOT / "pyproject.toml"))
    project = declared["project"]
    groups = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *declared["dependency-groups"].values(),
    ]
    return [entry for group in groups for entry in group if isinstance(entry, str)]
