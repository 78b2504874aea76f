"""The interface of all detectors: a panel of observations in, verdicts out.

A detector knows nothing of Kafka: the worker, a replay and a notebook call the same methods. `update` is the
stream's step: each row is judged with what was known before it, and learnt from afterwards. `score` gives the
same verdicts and leaves the detector as it was. So a score at time t is a function of the rows up to t.

Axes: T steps, S series, F features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from models.arrays import EpochMs, Mask, Numbers

if TYPE_CHECKING:
    import pandas as pd

    from models.logs.reviews import Review

SeriesName: TypeAlias = tuple[str, ...]
"""Values of a series' labels."""

State: TypeAlias = Mapping[str, Any]
"""What a detector has learnt: numbers, strings, lists and maps of these, and numpy arrays."""

NONE, INFO, TICKET, PAGE = 0, 1, 2, 3
"""Severities of a verdict."""

SEVERITIES = ("none", "info", "ticket", "page")


@dataclass(frozen=True, slots=True)
class Panel:
    """Observations of many series at evenly spaced steps.

    times    : EpochMs [T], the end of each step, ascending
    series   : S distinct names, each a tuple of label values
    features : F names
    values   : Numbers [T, S, F]; NaN where nothing was seen
    """

    times: EpochMs
    series: tuple[SeriesName, ...]
    features: tuple[str, ...]
    values: Numbers

    def __post_init__(self) -> None:
        shape = (len(self.times), len(self.series), len(self.features))
        if self.values.shape != shape:
            raise ValueError(
                f"values of shape {shape} expected (times, series, features), got {self.values.shape}"
            )
        if (np.diff(self.times) <= 0).any():
            raise ValueError("times must ascend without repeats; sort them and drop duplicates first")

    def __len__(self) -> int:
        return len(self.times)

    def rows(self, start: int, stop: int) -> Panel:
        """Steps `start` to `stop`."""
        return replace(self, times=self.times[start:stop], values=self.values[start:stop])

    @classmethod
    def of_series(cls, times: EpochMs, values: Numbers, feature: str = "value") -> Panel:
        """One series of one feature: EpochMs [T], Numbers [T]."""
        return cls(times, ((),), (feature,), np.asarray(values, np.float64)[:, None, None])

    @classmethod
    def from_table(cls, table: pd.DataFrame, *, by: Sequence[str] = (), time: str | None = None) -> Panel:
        """A long table: a row for each step and series, its other number columns being the features.

        by   : columns that name the series
        time : column of times; the index if None. Times without a zone are taken for UTC

        Raises ValueError where a column is missing, no number column is left or a step occurs twice.
        """
        import pandas as pd

        missing = [name for name in (*by, *([time] if time else ())) if name not in table.columns]
        if missing:
            raise ValueError(f"no column {missing[0]!r}; the table has {', '.join(map(str, table.columns))}")
        stamps = pd.DatetimeIndex(pd.to_datetime(table[time] if time else table.index, utc=True))
        features = [
            str(name)
            for name in table.columns
            if name not in (*by, time) and pd.api.types.is_numeric_dtype(table[name])
        ]
        if not features:
            raise ValueError("no column of numbers is left to be judged")
        epoch_ms = stamps.as_unit("ms").asi8
        times, row = np.unique(epoch_ms, return_inverse=True)
        names = list(zip(*(table[name].astype(str) for name in by), strict=True)) if by else [()] * len(table)
        series = tuple(dict.fromkeys(names))
        place = {name: number for number, name in enumerate(series)}
        column = np.fromiter((place[name] for name in names), np.int64, len(names))
        if len(np.unique(row * len(series) + column)) < len(table):
            raise ValueError(
                f"a time occurs twice in one series; by={list(by)!r} must name what tells them apart"
            )
        values = np.full((len(times), len(series), len(features)), np.nan)
        values[row, column] = table[features].to_numpy(np.float64)
        return cls(times.astype(np.int64), series, tuple(features), values)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a detector says of each step and series of a panel.

    tail          : Numbers [T, S], probability that a normal step looks at least as odd; NaN where not judged
    alarm         : Mask [T, S], whether the tail is below what the configured rate of false alarms allows
    severity      : int8 [T, S], one of `SEVERITIES` by number
    direction     : int8 [T, S], 1 above what was expected, -1 below, 0 neither
    contributions : Numbers [T, S, F], how much each feature adds to the oddness, signed by direction;
                    zeros where nothing is odd
    expected      : Numbers [T, S, F], what would have been normal; NaN where unknown
    kind          : object [T, S], a word for what was seen (`spike`, `level shift`, `scanner` …); "" for none
    """

    tail: Numbers
    alarm: Mask
    severity: NDArray[np.int8]
    direction: NDArray[np.int8]
    contributions: Numbers
    expected: Numbers
    kind: NDArray[np.object_]

    @property
    def score(self) -> Numbers:
        """Numbers [T, S] in [0, 1], 1 - tail: 0.999 is a step such as one normal step of a thousand."""
        return 1.0 - self.tail

    @classmethod
    def empty(cls, steps: int, series: int, features: int) -> Verdicts:
        """Verdicts that say nothing yet, to be filled in."""
        shape = (steps, series)
        return cls(
            tail=np.full(shape, np.nan),
            alarm=np.zeros(shape, np.bool_),
            severity=np.zeros(shape, np.int8),
            direction=np.zeros(shape, np.int8),
            contributions=np.zeros((*shape, features)),
            expected=np.full((*shape, features), np.nan),
            kind=np.full(shape, "", np.object_),
        )

    @classmethod
    def joined(cls, parts: Iterable[Verdicts]) -> Verdicts:
        """Verdicts of consecutive steps as one."""
        whole = list(parts)
        return cls(*(np.concatenate([getattr(part, name) for part in whole]) for name in cls.__slots__))


def check_verdicts(verdicts: Verdicts, panel: Panel) -> None:
    """Raise ValueError where verdicts are not of this panel's shape."""
    steps = panel.values.shape[:2]
    for name in Verdicts.__slots__:
        wanted = panel.values.shape if name in ("contributions", "expected") else steps
        found = np.shape(getattr(verdicts, name))
        if found != wanted:
            raise ValueError(f"verdicts with {name} of shape {wanted} expected, got {found}")


@runtime_checkable
class Detector(Protocol):
    """What a detector must offer. Construct it with keyword settings that all have defaults."""

    name: str

    def fit(self, panel: Panel) -> Self:
        """Forget everything and learn what is normal from history, which may hold anomalies."""

    def score(self, panel: Panel) -> Verdicts:
        """Judge each step as if it came next after the one before it; nothing is kept."""

    def update(self, panel: Panel) -> Verdicts:
        """Judge each step, then learn from it. New series may appear at any time, others may go."""

    def state(self) -> State:
        """All that has been learnt, for `restore`."""

    def restore(self, state: State) -> None:
        """Continue exactly where `state` was taken.

        Raises ValueError if it is not a state of this detector and version.
        """


@runtime_checkable
class Adopting(Detector, Protocol):
    """A detector that can go on with a model which was trained elsewhere."""

    def adopt(self, state: State) -> None:
        """Take over what another detector of this kind has learnt of all series together, and of series that
        this one does not know; what this one has learnt of its own series stays.

        Raises ValueError if it is not a state of this detector and version.
        """


@runtime_checkable
class Calibrated(Detector, Protocol):
    """A detector that tells where its alarms begin: those of its steps whose tail is below."""

    @property
    def alarm_tail(self) -> float:
        """Tail of a step below which it is an alarm."""


@runtime_checkable
class Explaining(Detector, Protocol):
    """A detector that has words for what it flags."""

    reasons: Mapping[SeriesName, Sequence[str]]
    """Of each series flagged in the last step: why, in words with numbers."""


@runtime_checkable
class Reviewed(Detector, Protocol):
    """A detector whose findings people review and decide about."""

    def decide(self, reviews: Iterable[Review]) -> bool:
        """Take a whole review over in place of the one before; returns whether that changes any decision."""


@runtime_checkable
class Discreet(Detector, Protocol):
    """A detector whose state knows of people: a model made of it is to hold only what others may know."""

    def trained(self) -> State:
        """A state with what was learnt of all series together, and of no single one."""
