"""`remit emulate`: a topology in an emulated AWS on this machine, with an example payment."""

import asyncio
import os
import platform
import signal
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

from remit.app import assemble, new_secret
from remit.entrypoints.example import Service, say, show_payment
from remit.keys import create_key
from remit.settings import read_settings
from remit_infra.deployment import Deployment
from remit_infra.emulator import REGION, Emulator, without_gaps
from remit_infra.environments import Names
from remit_infra.package import build
from remit_infra.topologies.lambda_dynamodb import synthesised

SUFFIX = "dev-local"
ARCHITECTURE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
OUR_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def run(command: Path, port: int) -> None:
    """Packages, starts, deploys, pays, and serves until Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with TemporaryDirectory(prefix="remit-emulator-") as folder:
        code = Path(folder) / "function.zip"
        say("packaging the functions")
        build(code, python=OUR_PYTHON, architecture=ARCHITECTURE)
        say("synthesising the stack")
        stack, template = synthesised(suffix=SUFFIX)
        with Emulator(command, Path(folder) / "emulator", port) as emulator:
            os.environ.update(emulator.environment)
            say(f"deploying to {emulator.url}")
            deployment = Deployment(stack, Names(SUFFIX), emulator.client, REGION)
            outputs = deployment.deploy(without_gaps(template), code, lambda *_: None)
            settings = read_settings(deployment.settings("payment-delivery"))
            key = asyncio.run(
                create_key(
                    assemble(settings),
                    merchant_id="example",
                    mode="test",
                    label="example",
                    random=new_secret(),
                )
            )
            service = Service(emulator.api_url(outputs["APIEndpoint"]), emulator.certificate)
            show_payment(service, key.secret, curl=f"curl --cacert {emulator.certificate}")
            say(f"AWS: export {' '.join(f'{n}={v}' for n, v in emulator.environment.items())}")
            say("Stop: Ctrl-C")
            stop.wait()
