"""The RunTask of ECS on this machine. The emulator records a task and runs nothing. This runs it as
a process, and writes its output to the log that its definition names.
"""

import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from remit.clock_and_ids import now
from remit_infra.emulated.fargate_stack import EmulatedFargateAurora

POLL_SECONDS = 0.2
LIMIT_SECONDS = 60


class RunTaskEmulator(threading.Thread):
    """Runs every task that was started with a command, one after the other, until the `with` block
    ends. `ran` are their commands and exit statuses, which the emulator does not keep.
    """

    def __init__(self, stack: EmulatedFargateAurora, folder: Path) -> None:
        super().__init__(daemon=True)
        self.ran: list[tuple[list[str], int]] = []
        self._stack = stack
        self._folder = folder
        self._cluster = stack.names("cluster", "payment-cluster")
        self._ecs = stack.emulator.client("ecs")
        self._logs = stack.emulator.client("logs")
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self.join()

    def run(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            for task in self._started_tasks():
                self._run(task)

    def _started_tasks(self) -> list[dict[str, Any]]:
        arns = self._ecs.list_tasks(cluster=self._cluster, desiredStatus="RUNNING")["taskArns"]
        if not arns:
            return []
        tasks = self._ecs.describe_tasks(cluster=self._cluster, tasks=arns)["tasks"]
        return [task for task in tasks if task["overrides"].get("containerOverrides")]

    def _run(self, task: dict[str, Any]) -> None:
        """Runs the task to its end. Its log appears after it has stopped, as can happen in AWS."""
        arn = task["taskArn"]
        identity = arn.rpartition("/")[2]
        [override] = task["overrides"]["containerOverrides"]
        environment = {each["name"]: each["value"] for each in override.get("environment", [])}
        definition = self._ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])
        [container] = definition["taskDefinition"]["containerDefinitions"]
        family = definition["taskDefinition"]["family"].removesuffix(f"-{self._stack.names.suffix}")
        output = self._folder / f"{identity}.log"
        process = self._stack.start(family, output, override["command"], **environment).process
        self.ran.append((override["command"], process.wait(LIMIT_SECONDS)))
        self._ecs.stop_task(cluster=self._cluster, task=arn)
        self._write_log(container, identity, output.read_text(encoding="utf-8").splitlines())

    def _write_log(self, container: dict[str, Any], identity: str, lines: list[str]) -> None:
        options = container["logConfiguration"]["options"]
        log = {
            "logGroupName": options["awslogs-group"],
            "logStreamName": f"{options['awslogs-stream-prefix']}/{container['name']}/{identity}",
        }
        self._logs.create_log_stream(**log)
        time_ms = int(now().timestamp() * 1_000)
        events = [{"timestamp": time_ms, "message": line} for line in lines]
        if events:
            self._logs.put_log_events(**log, logEvents=events)
