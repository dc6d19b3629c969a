"""Templates of the topologies, synthesised once, and what an image is made of."""

import shutil
from pathlib import Path

import pytest

from remit_infra.graph.graph import Graph
from remit_infra.plan.compare import graphs_of
from remit_infra.topologies.lambda_dynamodb.stack import synthesise
from tests.infra.promises import Template
from tests.tidy.tree import ROOT

ENVIRONMENT_SUFFIXES = ("dev", "staging-001", "prod")


@pytest.fixture(scope="session")
def templates() -> dict[str, Template]:
    """The lambda-dynamodb stack in each environment, by suffix."""
    return {suffix: synthesise(suffix=suffix)[1] for suffix in ENVIRONMENT_SUFFIXES}


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
