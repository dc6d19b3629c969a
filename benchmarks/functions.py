"""How fast a function is there: imported, cold and warm, beside the SDK that it cannot do without.

    as a bare process   importing a function of the zip, up to where it takes its first event
    under the emulator  a first request, which starts a container, and the ones after it

The floor is importing boto3 and making one client, which any function on DynamoDB pays.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request

from benchmarks.figures import CannotMeasure, report, report_median, say
from benchmarks.options import Options
from remit_infra.build.lambda_package import build_package
from remit_infra.deploy.cloudformation import CloudFormationStack
from remit_infra.emulated.emulator import REGION, Emulator, EmulatorError, install, without_gaps
from remit_infra.model.environments import Names
from remit_infra.topologies.lambda_dynamodb import synthesise_in_subprocess

HERE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
OUR_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
MODULES = {
    "payment-validation": "validation",
    "payment-processing": "processing",
    "payment-delivery": "delivery",
    "health-monitor": "health",
}
DELIVERY = "payment-delivery"
PROCESSES = 9
ABOVE_FLOOR_MS = 150.0
WARM_CALLS = 2_000

FLOOR = "import boto3; boto3.client('dynamodb')"
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
    try:
        command = install()
    except EmulatorError as error:
        raise CannotMeasure(str(error)) from error
    code = folder / "function.zip"
    made = build_package(code, python=OUR_PYTHON, architecture=HERE)
    report("function_zip", made.bytes / 1e6, "MB", below=15.0)
    with zipfile.ZipFile(code) as archive:
        archive.extractall(folder / "task")
    say("  deploying to the emulator")
    stack, template = synthesise_in_subprocess(suffix="dev-bench")
    with Emulator(command, folder / "emulator") as emulator:
        deployment = CloudFormationStack(stack, Names("dev-bench"), emulator.client, REGION)
        outputs = deployment.deploy(without_gaps(template), code, lambda *_: None)
        environment = {**emulator.environment, **deployment.settings("health-monitor")}
        _bare(folder / "task", command, environment)
        _emulated(options, emulator, deployment, emulator.api_url(outputs["APIEndpoint"]))


def _bare(task: Path, command: Path, environment: dict[str, str]) -> None:
    """Processes of the emulator's Python, which has the SDK as Lambda's own has."""
    python = command.with_name("python")
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(task),
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        **environment,
    }
    empty = statistics.median(_timed(python, "pass", environ))
    floor = statistics.median(_timed(python, FLOOR, environ)) - empty
    report("import_floor", floor, "ms")
    for function, module in MODULES.items():
        times = [one - empty for one in _timed(python, IMPORT.format(module), environ)]
        report_median(f"import_{function}", times, "ms")
        if function == "payment-validation":
            above = statistics.median(times) - floor
            report("import_above_floor", above, "ms", below=ABOVE_FLOOR_MS)
    ran = subprocess.run(
        [python, "-c", WARM.replace("CALLS", str(WARM_CALLS))],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    report("warm_handler", float(ran.stdout.splitlines()[-1]), "ms", below=1.0)


def _timed(python: Path, code: str, environ: dict[str, str]) -> list[float]:
    """Milliseconds of whole processes. The first is left out: it writes the bytecode."""
    times = []
    for _ in range(PROCESSES + 1):
        began = time.perf_counter()
        subprocess.run([python, "-c", code], env=environ, check=True)
        times.append((time.perf_counter() - began) * 1_000)
    return times[1:]


def _emulated(
    options: Options, emulator: Emulator, deployment: CloudFormationStack, url: str
) -> None:
    """Requests without a key, so that what is timed is the function and not the table. Delivery
    has no requests; its stream hands it nothing.
    """
    calls: dict[str, Callable[[], float]] = {
        "payment-validation": lambda: _answer(emulator, f"{url}/validate", "POST"),
        "payment-processing": lambda: _answer(emulator, f"{url}/process", "POST"),
        "health-monitor": lambda: _answer(emulator, f"{url}/health", "GET"),
        "payment-delivery": lambda: _invoke(emulator, deployment.names("function", DELIVERY)),
    }
    for function, call in calls.items():
        cold, warm = [], []
        for number in range(options.rounds):
            _renew(emulator, deployment, function, number)
            cold.append(call())
            warm += [call() for _ in range(10)]
        report_median(f"first_answer_{function}", cold, "ms")
        report_median(f"warm_answer_{function}", warm, "ms")


def _renew(emulator: Emulator, deployment: CloudFormationStack, function: str, number: int) -> None:
    """A changed configuration ends the function's containers."""
    variables = deployment.settings(function) | {"REMIT_RATE_BURST": str(2_000 + number)}
    emulator.client("lambda").update_function_configuration(
        FunctionName=deployment.names("function", function), Environment={"Variables": variables}
    )


def _invoke(emulator: Emulator, name: str) -> float:
    client = emulator.client("lambda")
    began = time.perf_counter()
    answer = client.invoke(FunctionName=name, Payload=json.dumps({"Records": []}))
    answer["Payload"].read()
    if "FunctionError" in answer:
        raise CannotMeasure(f"{name} ended with an error")
    return (time.perf_counter() - began) * 1_000


def _answer(emulator: Emulator, url: str, method: str) -> float:
    body = json.dumps({}).encode() if method == "POST" else None
    headers = {"content-type": "application/json"}
    request = Request(url, method=method, data=body, headers=headers)
    began = time.perf_counter()
    try:
        with emulator.open(request) as answer:
            answer.read()
    except HTTPError as error:
        error.read()
        if error.code >= 500:
            raise CannotMeasure(f"{url} answered {error.code}") from error
    return (time.perf_counter() - began) * 1_000
