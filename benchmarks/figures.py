"""What is reported: one JSON line per figure on standard output, and words for people on stderr."""

import statistics
import sys
from collections.abc import Sequence

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One measured number. `runs` are the single measurements that `value` is the median of.

    `ratio_to` names the figure that this one is a multiple of. `target` is what the product
    promises, and `met` whether this run kept it.
    """

    figure: str
    value: float
    unit: str
    ratio_to: str | None = None
    target: str | None = None
    met: bool | None = None
    runs: tuple[float, ...] = ()
    detail: dict[str, str | float] = {}


class CannotMeasure(Exception):
    """A tool is missing or a run failed; the message says what to do about it."""


def report(
    figure: str,
    value: float,
    unit: str,
    *,
    ratio_to: str | None = None,
    at_least: float | None = None,
    below: float | None = None,
    runs: Sequence[float] = (),
    detail: dict[str, str | float] | None = None,
) -> None:
    """Prints the figure's line, judged by the value it must reach or stay below, if any."""
    target, met = None, None
    if at_least is not None:
        target, met = f">= {at_least:g}", value >= at_least
    if below is not None:
        target, met = f"< {below:g}", value < below
    line = Figure(
        figure=figure,
        value=_short(value),
        unit=unit,
        ratio_to=ratio_to,
        target=target,
        met=met,
        runs=tuple(_short(run) for run in runs),
        detail=detail or {},
    )
    print(msgspec.json.encode(line).decode(), flush=True)
    judged = "" if met is None else f"   {target}: {'yes' if met else 'NO'}"
    say(f"  {figure} = {line.value:g} {unit}{judged}")


def report_median(
    figure: str,
    runs: Sequence[float],
    unit: str,
    *,
    below: float | None = None,
    detail: dict[str, str | float] | None = None,
) -> float:
    """Prints the median of `runs` as the figure, and returns it."""
    value = statistics.median(runs)
    report(figure, value, unit, below=below, runs=runs, detail=detail)
    return value


def report_ratio(figure: str, value: float, to: str, *, at_least: float | None = None) -> None:
    report(figure, value, "times", ratio_to=to, at_least=at_least)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _short(value: float) -> float:
    """Four digits are more than any of these measurements can promise."""
    return float(f"{value:.4g}") if abs(value) < 1_000 else float(round(value))
