"""Compute the plots of the last hour: bars that a template draws, a sentence and a table each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import partial
from typing import Final

from mirt.clock import format_duration
from mirt.store.reports.overview import Minute

STEP: Final = 6
"""Width of a minute, in units of the SVG."""
HEIGHT: Final = 60


@dataclass(frozen=True, slots=True)
class Bar:
    """A minute of a plot: its position, its height, and the height of its marked part."""

    x: int
    height: float
    marked: float
    says: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with its total; ``says`` is the sentence for screen readers.

    ``rows`` are its values: the minutes that have a bar, the latest first, with a value for each of
    ``columns``.
    """

    name: str
    figure: str
    unit: str
    says: str
    top: str
    kind: str
    bars: Sequence[Bar]
    columns: Sequence[str]
    rows: Sequence[tuple[datetime, Sequence[str]]]

    @property
    def width(self) -> int:
        """Width of the whole plot, in units of the SVG."""
        return STEP * len(self.bars)


def plots(minutes: Sequence[Minute], zone: tzinfo) -> list[Plot]:
    """Return the plots of throughput, latency and failures, with times in this zone."""
    at = partial(_time_of, zone)
    return [_answered(minutes, at), _latency(minutes, at), _failed(minutes, at)]


_At = Callable[[Minute], str]


def _answered(minutes: Sequence[Minute], at: _At) -> Plot:
    total = sum(minute.answered for minute in minutes)
    most = max(minutes, key=lambda minute: minute.answered)
    says = "No message was answered in the last hour."
    if total:
        at_most = f"at most {most.answered:,} per minute ({at(most)})"
        says = f"{total:,} answered in the last hour, {at_most}."
    return Plot(
        "Answered",
        f"{total:,}",
        "messages",
        says,
        f"{most.answered:,} per min" if total else "",
        "good",
        _bars(minutes, at, lambda minute: (minute.answered, minute.answered), "{0:.0f} answered"),
        ("Answered",),
        [(one.at, (f"{one.answered:,}",)) for one in reversed(minutes) if one.answered],
    )


def _latency(minutes: Sequence[Minute], at: _At) -> Plot:
    total = sum(minute.answered for minute in minutes)
    mean = sum(minute.mean_s * minute.answered for minute in minutes) / total if total else 0.0
    worst = max(minutes, key=lambda minute: minute.slowest_s)
    says = "No message was answered in the last hour."
    if total:
        says = (
            f"From message to answer {format_duration(mean)} on average, "
            f"at most {format_duration(worst.slowest_s)} ({at(worst)})."
        )
    return Plot(
        "Latency",
        format_duration(mean) if total else "–",
        "on average",
        says,
        f"{format_duration(worst.slowest_s)} the slowest" if total else "",
        "slow",
        _bars(
            minutes,
            at,
            lambda minute: (minute.slowest_s, minute.mean_s),
            "{1:.1f} s on average, the slowest {0:.1f} s",
        ),
        ("Average", "Slowest"),
        [
            (one.at, (format_duration(one.mean_s), format_duration(one.slowest_s)))
            for one in reversed(minutes)
            if one.slowest_s
        ],
    )


def _failed(minutes: Sequence[Minute], at: _At) -> Plot:
    total = sum(minute.failed for minute in minutes)
    most = max(minutes, key=lambda minute: minute.failed)
    says = "Nothing failed for good in the last hour."
    if total:
        at_most = f"at most {most.failed:,} per minute ({at(most)})"
        says = f"{total:,} failed for good in the last hour, {at_most}."
    return Plot(
        "Failed for good",
        f"{total:,}",
        "tasks",
        says,
        f"{most.failed:,} per min" if total else "",
        "bad",
        _bars(minutes, at, lambda minute: (minute.failed, minute.failed), "{0:.0f} failed"),
        ("Failed",),
        [(one.at, (f"{one.failed:,}",)) for one in reversed(minutes) if one.failed],
    )


def _bars(
    minutes: Sequence[Minute],
    at: _At,
    figures: Callable[[Minute], tuple[float, float]],
    says: str,
) -> list[Bar]:
    found = [figures(minute) for minute in minutes]
    top = max((whole for whole, _ in found), default=0)
    scale = HEIGHT / top if top else 0.0
    return [
        Bar(
            STEP * number,
            _height(whole, scale),
            _height(marked, scale),
            f"{at(minute)}: {says.format(whole, marked)}" if whole else "",
        )
        for number, (minute, (whole, marked)) in enumerate(zip(minutes, found, strict=True))
    ]


def _height(figure: float, scale: float) -> float:
    # A small value stays visible.
    return round(max(figure * scale, 1.5), 1) if figure else 0.0


def _time_of(zone: tzinfo, minute: Minute) -> str:
    return f"{minute.at.astimezone(zone):%H:%M}"
