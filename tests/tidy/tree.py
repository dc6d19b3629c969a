"""The repository as the tidy tests see it: every file of ours, and none that a tool wrote.

What to leave out is read from .gitignore, so that a checkout without git is judged alike.
"""

import ast
import os
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]

_gitignore = (ROOT / ".gitignore").read_text().splitlines()
_ignored = [".git", *(line.rstrip("/") for line in _gitignore if line and line[0] != "#")]


def files(suffix: str = "", under: str = ".") -> list[Path]:
    """Our files, sorted, whose name ends in `suffix`."""
    found: list[Path] = []
    for folder, folders, names in os.walk(ROOT / under):
        folders[:] = [name for name in folders if not _is_ignored(name)]
        found += [Path(folder, name) for name in names if not _is_ignored(name)]
    return sorted(path for path in found if path.name.endswith(suffix))


def text(path: Path) -> str:
    """What a file says; bytes that are no text (a picture) are replaced, not refused."""
    return path.read_text(encoding="utf-8", errors="replace")


def syntax(path: Path) -> ast.Module:
    """A Python file's syntax tree: read, never imported."""
    return ast.parse(text(path))


def name(path: Path) -> str:
    """A file's path from the root, as a failure should print it."""
    return path.relative_to(ROOT).as_posix()


def _is_ignored(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in _ignored)
