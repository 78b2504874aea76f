"""What has been learnt of many services' signals, an array for each thing, a row for each service.

One call judges all services of a step; a row never depends on another, so services may come and go.

Axes: T steps, S services, F signals (as many directions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from models.anomaly.day_level import DayLevel
from models.anomaly.day_profile import SLOTS, usual_at
from models.anomaly.forest import Forest
from models.anomaly.joint import along_directions, mean_distance
from models.anomaly.joint_scale import follow_level, in_spreads
from models.arrays import EpochMs, Mask, Numbers, Rows

LEVEL_STEPS = 1440.0
"""The level follows a part in so many steps: of minutes, a day's worth."""

LEVEL_PULL_MAX = 2.0
"""Spreads of a distance that pull the level: a step of 20 spreads is still far out ten days later."""

FAST, SLOW = 0.5, 0.05
"""Weights of a new step in the two averages whose mean is judged: one for bursts of a few steps, one for what
lasts, which is odder than any of its steps."""

PEAKS_MAX = 72
"""Blocks whose largest scores are kept, three days of hours."""

LASTING_TAILS = 10.0
"""An anomaly lasts while tails are below so many times the one at which it began."""

ORDINARY = 0.5
"""Score of a forest for a row that is neither odd nor central."""


@dataclass(frozen=True, slots=True)
class Bank:
    """Learnt constants, then what changes with every step.

    center, spread, mean      : Numbers [S, F], see `Scale` and `Joint`
    directions                : Numbers [S, F, F]
    profile                   : Numbers [S, D, F], usual by time of day, in spreads
    leading                   : Rows [S]
    location, scale           : Numbers [S], of `GumbelTail`
    block_steps               : Rows [S]
    level                     : Numbers [S, F], followed, in spreads
    fast, slow                : Numbers [S], averages of the oddness
    lasting                   : Mask [S], whether an anomaly lasts
    quiet                     : Rows [S], normal steps in a row while it does

    Of those that learn while they stream (see `detectors.multivariate.online`; others have zeros):
    online                    : Mask [S]
    since_ms                  : EpochMs [S], first step
    age, counted              : Rows [S], Numbers [S], steps since they are judged; those in `moment`, fading
    recent                    : Numbers [S, F], level of the last half hour, in spreads
    weights                   : Numbers [S, D], steps in each half hour of the profile
    noise, noises             : Numbers [S, F], [S, D, F], see `DayLevel`
    moment                    : Numbers [S, F, F], sum of products of offsets
    peak, peaks               : Numbers [S], [S, R], largest score of the block so far, powers of those before
    guess                     : Numbers [S, 2], location and scale by the first training
    """

    center: Numbers
    spread: Numbers
    mean: Numbers
    directions: Numbers
    profile: Numbers
    leading: Rows
    location: Numbers
    scale: Numbers
    block_steps: Rows
    level: Numbers
    fast: Numbers
    slow: Numbers
    lasting: Mask
    quiet: Rows
    online: Mask
    since_ms: EpochMs
    age: Rows
    counted: Numbers
    recent: Numbers
    weights: Numbers
    noise: Numbers
    noises: Numbers
    moment: Numbers
    peak: Numbers
    peaks: Numbers
    guess: Numbers

    def __len__(self) -> int:
        return len(self.center)

    @classmethod
    def empty(cls, signals: int) -> Self:
        """A bank of no service."""
        flat, square = np.zeros((0, signals)), np.zeros((0, signals, signals))
        profile = np.zeros((0, SLOTS, signals))
        none, count, marked = np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.bool_)
        return cls(
            flat, flat, flat, square, profile, count, none, none, count, flat, none, none, marked, count,
            marked, count, count, none, flat, np.zeros((0, SLOTS)), flat, profile, square, none,
            np.zeros((0, PEAKS_MAX)), np.zeros((0, 2)),
        )  # fmt: skip

    @classmethod
    def of(cls, **learnt: NDArray[Any]) -> Self:
        """Services by the columns that were learnt, the others being zero."""
        count, signals = learnt["center"].shape
        blank = {
            name: np.zeros((count, *column.shape[1:]), column.dtype)
            for name, column in cls.empty(signals).arrays().items()
        }
        return cls(**(blank | learnt))

    def rows(self, chosen: Rows) -> Self:
        """Services by position, in that order."""
        return replace(self, **{name: column[chosen] for name, column in self.arrays().items()})

    def with_rows(self, chosen: Rows, other: Bank) -> Self:
        """Services by position replaced by those of another bank, which may lie just behind the last."""
        grown = max(len(self), int(chosen.max(initial=-1)) + 1) - len(self)
        columns = {}
        for name, column in self.arrays().items():
            padding = np.zeros((grown, *column.shape[1:]), column.dtype)
            columns[name] = np.concatenate([column, padding])
            columns[name][chosen] = getattr(other, name)
        return replace(self, **columns)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The bank whose `arrays` these are.

        Raises ValueError where a column is missing or has another length or dtype.
        """
        empty = cls.empty(0)
        missing = [name for name in empty.arrays() if name not in arrays]
        if missing:
            raise ValueError(f"no column {missing[0]!r} among {', '.join(sorted(arrays)) or 'none'}")
        columns = {name: np.array(arrays[name], kind.dtype) for name, kind in empty.arrays().items()}
        count, signals = columns["center"].shape if columns["center"].ndim == 2 else (0, 0)
        for name, kind in cls.empty(signals).arrays().items():
            shape = (count, *kind.shape[1:])
            if columns[name].shape != shape:
                raise ValueError(f"column {name!r} of shape {shape} expected, got {columns[name].shape}")
        return cls(**columns)


class Measured(NamedTuple):
    """What is seen of some steps of all services of a bank.

    expected : Numbers [T, S, F], in the signals' units
    offsets : Numbers [T, S, F], from what was expected, in spreads, or, of services that learn while they
              stream, in units of their noise; 0 where a signal is missing
    along   : Numbers [T, S, F], along the directions
    oddness : Numbers [T, S], NaN where no signal was seen
    raised  : Numbers [T, S], factor by which the forest raised the mean distance to the oddness
    """

    expected: Numbers
    offsets: Numbers
    along: Numbers
    oddness: Numbers
    raised: Numbers


def measure(times: EpochMs, values: Numbers, bank: Bank, forest: Forest | None) -> tuple[Measured, Bank]:
    """Measure values : Numbers [T, S, F] against the levels before each step, and follow them."""
    distances = in_spreads(values, bank.center, bank.spread)
    levels, level = follow_level(distances, bank.level, steps=LEVEL_STEPS, pull_max=LEVEL_PULL_MAX)
    usual = levels + usual_at(times, bank.profile) + bank.mean
    stray = np.ones_like(usual)
    bank = replace(bank, level=np.where(bank.online[:, None], bank.level, level))
    learning = np.flatnonzero(bank.online)
    if len(learning):
        some = bank.rows(learning)
        known = DayLevel(**{name: getattr(some, name) for name in DayLevel._fields})
        usual[:, learning], stray[:, learning], followed = known.follow(times, distances[:, learning])
        bank = bank.with_rows(learning, replace(some, **followed._asdict()))
    seen = np.isfinite(values).any(axis=-1)
    offsets = np.where(np.isfinite(distances), (distances - usual) / stray, 0.0)
    along = along_directions(offsets, bank.directions)
    raised = forest_factor(along, forest)
    oddness = np.where(seen, mean_distance(along) * raised, np.nan)
    expected = bank.center + bank.spread * usual
    return Measured(expected, offsets, along, oddness, raised), bank


def forest_factor(along: Numbers, forest: Forest | None) -> Numbers:
    """Factor Numbers [T, S] about 1, larger where the distances combine oddly; 1 without a forest."""
    if forest is None:
        return np.ones(along.shape[:-1])
    scores = forest.score(np.abs(along).reshape(-1, along.shape[-1]))
    factor: Numbers = np.exp(scores - ORDINARY).reshape(along.shape[:-1])
    return factor


def smooth(oddness: Numbers, bank: Bank) -> tuple[Numbers, Bank]:
    """The score that is judged, Numbers [T, S]: the mean of a fast and a slow average of the oddness.

    NaN, where nothing was seen, stays, and leaves the averages as they are.
    """
    fast, slow = bank.fast, bank.slow
    scores = np.full(oddness.shape, np.nan)
    for step, row in enumerate(oddness):
        seen = np.isfinite(row)
        fast = np.where(seen, fast + FAST * (row - fast), fast)
        slow = np.where(seen, slow + SLOW * (row - slow), slow)
        scores[step] = np.where(seen, (fast + slow) / 2.0, np.nan)
    return scores, replace(bank, fast=fast, slow=slow)


def hold_alarms(tail: Numbers, bank: Bank, alarm_tail: float, *, quiet_steps: int) -> tuple[Mask, Bank]:
    """Where an anomaly lasts: from a tail below `alarm_tail` until tails have been usual for a while.

    It ends once `quiet_steps` tails in a row, which there were, lay above `LASTING_TAILS` times `alarm_tail`.
    Alarms are its steps below that, Mask [T, S].
    """
    with np.errstate(invalid="ignore"):
        begins, odd = tail < alarm_tail, tail < alarm_tail * LASTING_TAILS
    seen = np.isfinite(tail)
    lasting, quiet = bank.lasting, bank.quiet
    alarms = np.zeros(tail.shape, np.bool_)
    for step in range(len(tail)):
        lasting = lasting | begins[step]
        quiet = np.where(seen[step], np.where(odd[step], 0, quiet + 1), quiet)
        lasting = lasting & (quiet < quiet_steps)
        alarms[step] = lasting & odd[step]
    return alarms, replace(bank, lasting=lasting, quiet=np.where(lasting, quiet, 0))
