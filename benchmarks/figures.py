"""The result of a benchmark: figures, each printed as one JSON line on standard output.

Progress for a person goes to standard error. Every benchmark reports through this module.
"""

import statistics
import sys
from collections.abc import Sequence

import msgspec


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One measured number. `runs` are the single measurements that `value` is the median of.

    `ratio_to` names the figure that this one is a multiple of. `target` is the bound that the
    product promises, and `met` says whether this run kept it.
    """

    figure: str
    value: float
    unit: str
    ratio_to: str | None = None
    target: str | None = None
    met: bool | None = None
    runs: tuple[float, ...] = ()
    detail: dict[str, str | float] = {}


class Bound(msgspec.Struct, frozen=True):
    """A promise about a figure: at least `least`, or below `limit`. One of the two is set."""

    least: float | None = None
    limit: float | None = None

    def __str__(self) -> str:
        return f"< {self.limit:g}" if self.limit is not None else f">= {self.least:g}"

    def is_kept_by(self, values: Sequence[float]) -> bool:
        """Whether every single value keeps it."""
        return all(
            (self.least is None or value >= self.least)
            and (self.limit is None or value < self.limit)
            for value in values
        )


class CannotMeasure(Exception):
    """A tool is missing or a run failed; the message says what to do about it."""


def at_least(value: float) -> Bound:
    return Bound(least=value)


def below(value: float) -> Bound:
    return Bound(limit=value)


def report(figure: Figure, bound: Bound | None = None) -> None:
    """Prints the figure with at most four digits. A bound must be kept by each of its runs."""
    line = msgspec.structs.replace(
        figure,
        value=_rounded(figure.value),
        target=None if bound is None else str(bound),
        met=None if bound is None else bound.is_kept_by(figure.runs or (figure.value,)),
        runs=tuple(_rounded(run) for run in figure.runs),
    )
    print(msgspec.json.encode(line).decode(), flush=True)
    judgement = "" if line.met is None else f"   {line.target}: {'yes' if line.met else 'NO'}"
    say(f"  {line.figure} = {line.value:g} {line.unit}{judgement}")


def report_median(
    figure: str,
    runs: Sequence[float],
    unit: str,
    bound: Bound | None = None,
    detail: dict[str, str | float] | None = None,
) -> float:
    """Reports the median of `runs` as the figure, and returns it."""
    value = statistics.median(runs)
    report(Figure(figure, value, unit, runs=tuple(runs), detail=detail or {}), bound)
    return value


def report_ratio(figure: str, value: float, to: str, bound: Bound | None = None) -> None:
    report(Figure(figure, value, "times", ratio_to=to), bound)


def say(text: str) -> None:
    """Prints a line of progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def _rounded(value: float) -> float:
    """Four digits: these measurements repeat to no more."""
    return float(f"{value:.4g}") if abs(value) < 1_000 else float(round(value))
