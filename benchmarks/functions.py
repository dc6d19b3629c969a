"""How fast a Lambda function starts and responds: imported, cold and warm.

    as a bare process   importing a function of the zip, up to where it takes its first event
    on the emulator     a first request, which starts a container, and the ones after it

The baseline is importing boto3 and making one client, which any function on DynamoDB pays.
"""

import json
import os
import platform
import ssl
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx

from benchmarks.figures import CannotMeasure, Figure, below, report, report_median, say
from benchmarks.options import Options
from remit_infra.build.lambda_package import build_package
from remit_infra.deploy.cloudformation import CloudFormationStack
from remit_infra.emulated.emulator import REGION, Emulator, EmulatorError, install, without_gaps
from remit_infra.model.environments import Names
from remit_infra.topologies.lambda_dynamodb import synthesise_in_subprocess

ARCHITECTURE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
MODULES = {
    "payment-validation": "validation",
    "payment-processing": "processing",
    "payment-delivery": "delivery",
    "health-monitor": "health",
}
DELIVERY = "payment-delivery"
ABOVE_BASELINE_MS = 150.0
WARM_CALLS = 2_000

EMPTY = "pass"
BASELINE = "import boto3; boto3.client('dynamodb')"
IMPORT = "import remit.entrypoints.lambdas.{}"
WARM = """
import time
from types import SimpleNamespace
from remit.entrypoints.lambdas.validation import handler
context = SimpleNamespace(function_name="f", memory_limit_in_mb=1, aws_request_id="r",
                          invoked_function_arn="arn")
event = {"httpMethod": "POST", "path": "/validate", "headers": {}, "body": "{}",
         "requestContext": {}}
assert handler(event, context)["statusCode"] == 401
times = []
for _ in range(CALLS):
    began = time.perf_counter()
    handler(event, context)
    times.append(time.perf_counter() - began)
times.sort()
print(times[len(times) // 2] * 1000)
"""


def measure(options: Options, folder: Path) -> None:
    say("  installing the emulator, if it is not there")
    try:
        command = install()
    except EmulatorError as error:
        raise CannotMeasure(str(error)) from error
    code = folder / "function.zip"
    package = build_package(code, python=PYTHON, architecture=ARCHITECTURE)
    report(Figure("function_zip", package.bytes / 1e6, "MB"), below(15.0))
    with zipfile.ZipFile(code) as archive:
        archive.extractall(folder / "task")
    say("  deploying to the emulator")
    stack, template = synthesise_in_subprocess(suffix="dev-bench")
    with Emulator(command, folder / "emulator") as emulator:
        deployment = CloudFormationStack(stack, Names("dev-bench"), emulator.client, REGION)
        outputs = deployment.deploy(without_gaps(template), code, lambda *_: None)
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(folder / "task"),
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            **emulator.environment,
            **deployment.settings("health-monitor"),
        }
        # The emulator's Python has the SDK, as Lambda's own has.
        _measure_bare(options, command.with_name("python"), environ)
        url = emulator.api_url(outputs["APIEndpoint"])
        _measure_emulated(options, emulator, deployment, url)


def _measure_bare(options: Options, python: Path, environ: dict[str, str]) -> None:
    """Whole processes of this Python, less the time of one that does nothing."""

    def milliseconds(code: str) -> list[float]:
        """The first process is left out: it writes the bytecode."""
        times = [_timed([python, "-c", code], environ) for _ in range(options.imports + 1)]
        return times[1:]

    empty = statistics.median(milliseconds(EMPTY))
    baseline = statistics.median(milliseconds(BASELINE)) - empty
    report(Figure("import_baseline", baseline, "ms"))
    for function, module in MODULES.items():
        times = [one - empty for one in milliseconds(IMPORT.format(module))]
        report_median(f"import_{function}", times, "ms")
        if function == "payment-validation":
            above = statistics.median(times) - baseline
            report(Figure("import_above_baseline", above, "ms"), below(ABOVE_BASELINE_MS))
    ended = subprocess.run(
        [python, "-c", WARM.replace("CALLS", str(WARM_CALLS))],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    report(Figure("warm_handler", float(ended.stdout.splitlines()[-1]), "ms"), below(1.0))


def _timed(command: list[str | Path], environ: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environ, check=True)
    return (time.perf_counter() - began) * 1_000


def _measure_emulated(
    options: Options, emulator: Emulator, deployment: CloudFormationStack, url: str
) -> None:
    """Requests without a key, so that what is timed is the function and not the table.

    The delivery function has no requests: it is invoked with no records.
    """
    trusted = ssl.create_default_context(cafile=str(emulator.certificate))
    with httpx.Client(verify=trusted, trust_env=False, timeout=60.0) as client:
        calls: dict[str, Callable[[], float]] = {
            "payment-validation": lambda: _request(client, "POST", f"{url}/validate"),
            "payment-processing": lambda: _request(client, "POST", f"{url}/process"),
            "health-monitor": lambda: _request(client, "GET", f"{url}/health"),
            DELIVERY: lambda: _invoke(emulator, deployment.names("function", DELIVERY)),
        }
        for function, call in calls.items():
            cold, warm = [], []
            for number in range(options.rounds):
                _end_containers(emulator, deployment, function, number)
                cold.append(call())
                warm += [call() for _ in range(options.warm_requests)]
            report_median(f"first_response_{function}", cold, "ms")
            report_median(f"warm_response_{function}", warm, "ms")


def _end_containers(
    emulator: Emulator, deployment: CloudFormationStack, function: str, number: int
) -> None:
    """Changes the function's configuration, which ends its containers."""
    variables = deployment.settings(function) | {"REMIT_RATE_BURST": str(2_000 + number)}
    emulator.client("lambda").update_function_configuration(
        FunctionName=deployment.names("function", function), Environment={"Variables": variables}
    )


def _invoke(emulator: Emulator, name: str) -> float:
    client = emulator.client("lambda")
    began = time.perf_counter()
    response = client.invoke(FunctionName=name, Payload=json.dumps({"Records": []}))
    response["Payload"].read()
    if "FunctionError" in response:
        raise CannotMeasure(f"{name} ended with an error")
    return (time.perf_counter() - began) * 1_000


def _request(client: httpx.Client, method: str, url: str) -> float:
    """Milliseconds of one request; a refusal is a response too. Raises CannotMeasure on a fault."""
    began = time.perf_counter()
    response = client.request(method, url, json={} if method == "POST" else None)
    if response.status_code >= 500:
        raise CannotMeasure(f"{url} responded {response.status_code}")
    return (time.perf_counter() - began) * 1_000
