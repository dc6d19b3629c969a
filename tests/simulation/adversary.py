"""What can go wrong in the simulated world, how often in this seed, and how often it did."""

import random
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from enum import StrEnum


class Fault(StrEnum):
    """One kind of what can go wrong."""

    COMMIT_FAILS = "commit_fails"
    COMMIT_UNHEARD = "commit_unheard"
    COMMIT_HANGS = "commit_hangs"
    READ_FAILS = "read_fails"
    SEND_FAILS = "send_fails"
    SEND_UNHEARD = "send_unheard"
    MESSAGE_REPEATED = "message_repeated"
    PROCESSOR_REFUSES = "processor_refuses"
    PROCESSOR_DOWN = "processor_down"
    REFUSAL_FALSE = "refusal_false"
    PROCESSOR_SILENT = "processor_silent"
    FAILS_LATER = "fails_later"
    ACTION_REQUIRED = "action_required"
    NOTICE_LATE = "notice_late"
    NOTICE_REPEATED = "notice_repeated"
    REQUEST_LOST = "request_lost"
    REQUEST_LATE = "request_late"
    REQUEST_STUCK = "request_stuck"
    REQUEST_REPEATED = "request_repeated"
    RESPONSE_LOST = "response_lost"
    RESPONSE_LATE = "response_late"
    PROCESS_KILLED = "process_killed"
    PROCESS_PAUSED = "process_paused"
    CLOCKS_APART = "clocks_apart"
    CALLER_REPEATS = "caller_repeats"


MAX_RATE = 0.15

EPOCH = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
"""When the time of a simulated loop is zero."""


class Adversary:
    """Decides by the seed whether a fault happens now.

    Each seed has some kinds of faults and not the others, and each at a rate of its own: a world in
    which everything always fails never gets to the faults that need a success before them.
    """

    def __init__(self, source: random.Random, kinds: Collection[Fault] = tuple(Fault)) -> None:
        self._random = source
        self.counts: Counter[Fault] = Counter()
        self.is_at_rest = False
        self._rates = {
            kind: source.uniform(0.0, MAX_RATE) if source.random() < 0.5 else 0.0 for kind in Fault
        }
        for kind in set(Fault) - set(kinds):
            self._rates[kind] = 0.0

    def strikes(self, kind: Fault, *, times: float = 1.0) -> bool:
        """Whether this fault happens now, `times` as often as its rate, and counts it if so."""
        # One number is drawn in any case, so that a kind that is left out changes little else.
        if self._random.random() >= self._rates[kind] * times or self.is_at_rest:
            return False
        self.counts[kind] += 1
        return True

    def latency(self) -> float:
        """How long a call to a port takes, in seconds: mostly short, sometimes very long."""
        return min(self._random.expovariate(20.0), 2.0)

    def between(self, least: float, most: float) -> float:
        return self._random.uniform(least, most)
