"""What runs the service in a topology: Lambda functions with their schedules, and ECS tasks."""

import msgspec

REQUEST_SECONDS = 28
"""The timeout of a function that answers requests: below the 29 seconds that API Gateway waits."""

JOB_SECONDS = 900
FUNCTION_MEMORY_MIB = 1_024
TASK_CPU_UNITS, TASK_MEMORY_MIB = 256, 512


class FunctionSpec(msgspec.Struct, frozen=True):
    """A function: its name without the suffix, its module in `remit.entrypoints.lambdas`, its
    timeout.
    """

    name: str
    module: str
    timeout_seconds: int = REQUEST_SECONDS

    @property
    def answers_requests(self) -> bool:
        return self.timeout_seconds == REQUEST_SECONDS


class JobSchedule(msgspec.Struct, frozen=True):
    """A rule that invokes a function with a job, at a rate such as `1 minute`."""

    rule: str
    function: str
    rate: str
    job: str


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A task: its name, its family and the service's command that it runs.

    A task that `is_server` accepts connections. One that `is_long_running` has a health check; any
    other ends by itself.
    """

    name: str
    family: str
    command: str
    is_server: bool = False
    is_long_running: bool = True
