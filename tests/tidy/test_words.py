"""The field's words in names, one name a class, and no pointer to what is gone."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.tidy.tree import files, name, syntax, text

GONE = {
    # modules
    *("answers", "applied", "arranged", "ask", "bill", "clock", "configured", "console", "consume"),
    *("counted", "deliver", "doctor", "edge", "front", "ground", "jobs", "live", "moving"),
    *("observed", "one_off", "operate", "operating", "planned", "preparing", "promises", "prove"),
    *("quiet", "recorded", "recording", "resume", "running", "shown", "side", "spans", "stir"),
    *("the_end", "traced", "traps", "verdict", "verdicts", "waking", "watched", "wire", "world"),
    # classes
    *(
        "Answer",
        "Around",
        "Broken",
        "Copy",
        "Deliverer",
        "Examined",
        "Keys",
        "Outcome",
        "OutOfReach",
    ),
    *("Pending", "Place", "Refusal", "Refused", "Rest", "Sealer", "Shared", "Uncounted", "Verdict"),
    # functions
    *(
        "allow",
        "contended",
        "give_back",
        "inside",
        "leave_unknown",
        "let_call",
        "nowhere",
        "outside",
    ),
    *("promised", "question", "seal", "settle", "settled", "take_step", "tell", "told"),
}
"""Names that the project had before it took the field's words (`docs/glossary.md`)."""

NOUNS = {"autoscaling", "monitoring", "pricing", "processing", "tracing"}
"""Names of modules that end as a participle does, and are nouns or AWS's own words."""

FILE = re.compile(r"(?<![\w/<*.-])[\w./-]*\w\.(?:py|md|sql|toml|yaml|yml)\b")
IDENTIFIER = re.compile(r"`([A-Za-z_][\w.]*)(?:\(\))?`")

NAMED_ELSEWHERE = {"metric_query"}
"""Words of other projects that a docstring explains."""


def test_no_name_is_one_that_the_field_has_no_use_for() -> None:
    assert [found for found in public_names() if found.rpartition(" ")[2] in GONE] == []


def test_a_module_has_a_noun_for_a_name() -> None:
    modules = [p for p in files(".py") if not p.stem.startswith(("test_", "__"))]
    participles = [p for p in modules if re.search(r"(?:ing|[^ei]ed|ied)$", p.stem)]
    assert [name(p) for p in participles if p.stem.rpartition("_")[2] not in NOUNS] == []


def test_a_public_class_has_a_name_of_its_own() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in files(".py", "src"):
        for node in syntax(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name(path))
    assert {one: where for one, where in places.items() if len(where) > 1} == {}


def test_a_docstring_points_to_files_that_exist() -> None:
    there = {name(path) for path in files()}
    ends = {"/".join(path.split("/")[-n:]) for path in there for n in range(1, path.count("/") + 2)}
    assert [
        f"{place}: {pointer}"
        for place, written in docstrings()
        for pointer in FILE.findall(written)
        if pointer not in ends
    ] == []


def test_a_docstring_names_what_exists() -> None:
    known = words_of_the_code() | NAMED_ELSEWHERE
    assert [
        f"{place}: {named}"
        for place, written in docstrings()
        for named in IDENTIFIER.findall(written)
        if not set(named.rstrip(".").split(".")) <= known
    ] == []


def public_names() -> Iterator[str]:
    """Each module, class and function that is not private, with where it is."""
    for path in files(".py"):
        yield f"{name(path)} {path.stem}"
        for node in ast.walk(syntax(path)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name(path)}:{node.lineno} {node.name}"


def docstrings() -> Iterator[tuple[str, str]]:
    """Each docstring of a module, class, function or attribute, with where it is."""
    for path in files(".py"):
        for statement in _docstrings_of(syntax(path)):
            yield f"{name(path)}:{statement.lineno}", str(statement.value)


def _docstrings_of(module: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(module):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                yield statement.value


def words_of_the_code() -> set[str]:
    """What is named in code, SQL or a string anywhere, docstrings excepted."""
    known = {word for path in files(".sql") for word in re.findall(r"\w+", text(path))}
    for path in files(".py"):
        known |= _words_of(path)
    return known


def _words_of(path: Path) -> set[str]:
    module = syntax(path)
    for docstring in _docstrings_of(module):
        docstring.value = ""
    # Every string of a tree is a name, an argument, a keyword, an import or text.
    known = {path.stem, *path.parts}
    for node in ast.walk(module):
        for _, value in ast.iter_fields(node):
            values = value if isinstance(value, list) else [value]
            for one in values:
                if isinstance(one, str):
                    known.update(re.findall(r"\w+", one))
    return known
