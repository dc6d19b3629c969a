"""uv, which installs locked packages, into a function's zip or a virtual environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path


class UvError(Exception):
    """The packages were not installed. The message says why."""


def uv(*arguments: str) -> None:
    """Runs uv with these arguments. Raises UvError."""
    beside = Path(sys.executable).with_name("uv")
    command = str(beside) if beside.exists() else shutil.which("uv")
    if command is None:
        raise UvError("uv is not installed: pip install uv")
    # Behind a company's TLS proxy only the system's certificates are valid.
    environ = {**os.environ, "UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    ended = subprocess.run(  # nosec B603
        [command, *arguments], capture_output=True, text=True, check=False, env=environ
    )
    if ended.returncode != 0:
        raise UvError(f"The packages were not installed: {ended.stderr.strip()}")
