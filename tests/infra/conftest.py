"""The templates of lambda-dynamodb, and what an image is made of."""

import shutil
from pathlib import Path

import pytest

from remit_infra.graph.graph import Graph
from remit_infra.plan.compare import graphs_of
from tests.infra.graphs import SUFFIXES, Template, template_of
from tests.tidy.tree import ROOT


@pytest.fixture(scope="session")
def templates() -> dict[str, Template]:
    """The lambda-dynamodb stack in each environment, by suffix."""
    return {suffix: template_of(suffix) for suffix in SUFFIXES}


@pytest.fixture(scope="session")
def prod_graphs() -> dict[str, Graph]:
    """The graph of each topology in prod, by topology."""
    return graphs_of("prod")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What of the repository an image is made of, in a folder of its own."""
    folder = tmp_path / "checkout"
    for one in ("Dockerfile", ".dockerignore", "pyproject.toml", "requirements", "src/remit"):
        source, target = ROOT / one, folder / one
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    (folder / "dist").mkdir()
    (folder / "dist/rds-ca.pem").write_text("certificates")
    return folder
