"""How long work that failed pauses before a queue hands it out again."""

MAX_BACKOFF_SECONDS = 3_600.0
"""Well below the twelve hours that SQS hides a message for at most, counted from its receive."""


def backoff(first_seconds: float, receives: int) -> float:
    """The pause before a message that failed comes back: doubled with each receive, to a limit."""
    return min(first_seconds * 2.0 ** min(receives - 1, 32), MAX_BACKOFF_SECONDS)
