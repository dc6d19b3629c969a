"""uv, which installs what is locked: into a function's zip, or an environment of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path


class UvError(Exception):
    """Something was not installed. The message says why."""


def uv(*arguments: str) -> None:
    """Runs uv with these arguments. Raises UvError."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise UvError("uv is not installed: pip install uv")
    # The system's certificates, for whoever is behind a company's TLS proxy.
    environ = {**os.environ, "UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    ended = subprocess.run(  # nosec B603
        [found, *arguments], capture_output=True, text=True, check=False, env=environ
    )
    if ended.returncode != 0:
        raise UvError(f"The packages were not installed: {ended.stderr.strip()}")
