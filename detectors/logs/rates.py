"""How often a template's lines come: a rate for each hour of the day, its dispersion, and tails of counts.

Counts are taken for negative binomial with variance `dispersion` times the mean (Poisson where it is 1).
Rate and dispersion are sums that fade over a week, with counts beyond what is plausible cut before they are
learnt, so that a burst neither becomes normal nor hides the next. Cost: 480 bytes a template, about 0.1 µs
a template and step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np
from scipy import special

from models.arrays import Mask, Numbers, Rows

HOURS = 24

FADE_STEPS = 7 * 1440
"""Steps over which rate and dispersion fade: a week of minutes."""

FADE_STEPS_OF_HOUR = 7 * 60
"""Steps within one hour of the day over which its rate fades: those of a week."""

PRIOR_STEPS = 30.0
"""Steps for which the overall rate speaks in an hour of the day that was hardly seen."""

PRIOR_DISPERSION, PRIOR_WEIGHT = 2.0, 5.0
"""The dispersion of a template that was hardly seen, and for how many lines it speaks."""

CUT, CUT_OF_ODD = 6.0, 1.0
"""Standard deviations beyond which a count is cut before it is learnt; the second while a surge is going
on."""

FIRST_STEPS, FIRST_LINES = 10.0, 100.0
"""Steps of a template, and lines of a service, that tell nothing yet of how far counts stray."""

PRIOR_ERRORS, PRIOR_LINES = 0.2, 20.0
"""Errors among lines of a service that was hardly heard."""


def surge_tail(counts: Numbers, means: Numbers, dispersions: Numbers) -> Numbers:
    """P(X >= count) for negative binomial X: Numbers [K] each, in (0, 1]; 1 where the count is 0.

    With variance d·m the tail is the incomplete beta function I(1 - 1/d; count, m / (d - 1)), and for d = 1
    the incomplete gamma function P(count, m).
    """
    tails = np.ones(np.shape(counts))
    poisson = (counts > 0) & (dispersions < 1.0 + 1e-6)
    tails[poisson] = special.gammainc(counts[poisson], means[poisson])
    wide = (counts > 0) & ~poisson
    d = dispersions[wide]
    tails[wide] = special.betainc(counts[wide], np.maximum(means[wide], 1e-12) / (d - 1.0), 1.0 - 1.0 / d)
    return np.maximum(tails, 1e-300)


def log_silence(means: Numbers, dispersions: Numbers) -> Numbers:
    """ln P(X = 0) for the same X: -m ln d / (d - 1), which is -m for d = 1."""
    wide = np.maximum(dispersions - 1.0, 1e-9)
    return -means * np.log1p(wide) / wide


@dataclass(slots=True)
class Columns:
    """Arrays of equal length with a row for each of something; a row of zeros is one of which nothing is
    known."""

    @classmethod
    def empty(cls) -> Self:
        """No rows yet."""
        return cls(*(np.zeros((0, *each.metadata.get("shape", ()))) for each in fields(cls)))

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def grow(self, count: int) -> None:
        """Have at least `count` rows."""
        for each in fields(self):
            old = getattr(self, each.name)
            new = np.zeros((max(count - len(old), 0), *old.shape[1:]))
            setattr(self, each.name, np.concatenate([old, new]))

    def copy_rows(self, rows: Rows, other: Self, theirs: Rows) -> None:
        """What is known of some is from now on what another knows of theirs: Rows [N] each."""
        for each in fields(self):
            getattr(self, each.name)[rows] = getattr(other, each.name)[theirs]

    def clear(self, row: int) -> None:
        """Forget what is known of one."""
        for each in fields(self):
            getattr(self, each.name)[row] = 0.0

    def state(self) -> dict[str, Numbers]:
        """Copies of all arrays by name."""
        return {each.name: getattr(self, each.name).copy() for each in fields(self)}

    @classmethod
    def restored(cls, state: Mapping[str, Numbers]) -> Self:
        """What `state` was taken of."""
        return cls(*(np.array(state[each.name], np.float64) for each in fields(cls)))


@dataclass(slots=True)
class LogRates(Columns):
    """What is known of the rates of K templates.

    weight      : Numbers [K], steps learnt, fading
    total       : Numbers [K], lines in them
    heard       : Numbers [K], steps that had lines
    square      : Numbers [K], squares of what had not been expected
    predicted   : Numbers [K], lines that had been expected
    hour_weight : Numbers [K, 24], steps by hour of the day, fading
    hour_total  : Numbers [K, 24], lines in them
    silent      : Numbers [K], steps since a line last came
    log_p       : Numbers [K], ln of the probability of that silence
    longest     : Numbers [K], steps of the longest silence that ended, fading
    """

    weight: Numbers
    total: Numbers
    heard: Numbers
    square: Numbers
    predicted: Numbers
    hour_weight: Numbers = field(metadata={"shape": (HOURS,)})
    hour_total: Numbers = field(metadata={"shape": (HOURS,)})
    silent: Numbers
    log_p: Numbers
    longest: Numbers

    def merge(self, into: int, other: int) -> None:
        """Two templates turned out to be one: its lines are those of both."""
        for array in (self.total, self.heard, self.square, self.predicted, self.hour_total):
            array[into] += array[other]
        for array in (self.weight, self.hour_weight):
            array[into] = np.maximum(array[into], array[other])
        for array in (self.silent, self.longest):
            array[into] = min(array[into], array[other])
        self.log_p[into] = max(self.log_p[into], self.log_p[other])
        self.clear(other)

    def expected(self, hour: int) -> tuple[Numbers, Numbers, Numbers]:
        """Mean, its standard error and dispersion: Numbers [K] each, for one step in an hour of the day."""
        overall = (self.total + 0.5) / (self.weight + 1.0)
        mean = (self.hour_total[:, hour] + PRIOR_STEPS * overall) / (self.hour_weight[:, hour] + PRIOR_STEPS)
        dispersion = (self.square + PRIOR_DISPERSION * PRIOR_WEIGHT) / (self.predicted + PRIOR_WEIGHT)
        dispersion = np.maximum(dispersion, 1.0)
        steps = np.minimum(self.weight, self.hour_weight[:, hour] + PRIOR_STEPS) + 1.0
        return mean, np.sqrt(dispersion * (mean + 1.0 / steps) / steps), dispersion

    def learn(self, counts: Numbers, rows: Rows, hour: int, odd: Mask) -> None:
        """One step: the lines Numbers [N] of N templates that could have been heard, at Rows [N].

        odd : Mask [N], templates that are in a surge, which hardly teaches what is normal
        """
        mean, _, dispersion = (each[rows] for each in self.expected(hour))
        cut = np.where(odd, CUT_OF_ODD, CUT) * np.sqrt(dispersion * (mean + 1.0)) + np.where(
            odd, 0.0, CUT / 2
        )
        count = np.minimum(counts, mean + cut)
        fade = 1.0 - 1.0 / FADE_STEPS
        told = self.weight[rows] >= FIRST_STEPS
        telling = rows[told]
        self.square[telling] = self.square[telling] * fade + ((count - mean) ** 2)[told]
        self.predicted[telling] = self.predicted[telling] * fade + mean[told]
        self.weight[rows] = self.weight[rows] * fade + 1.0
        self.total[rows] = self.total[rows] * fade + count
        self.heard[rows] = self.heard[rows] * fade + (counts > 0)
        self.longest[rows] *= fade
        fade = 1.0 - 1.0 / FADE_STEPS_OF_HOUR
        self.hour_weight[rows, hour] = self.hour_weight[rows, hour] * fade + 1.0
        self.hour_total[rows, hour] = self.hour_total[rows, hour] * fade + count
        came = counts > 0
        heard, quiet = rows[came], rows[~came]
        self.longest[heard] = np.maximum(self.longest[heard], self.silent[heard])
        self.silent[heard] = self.log_p[heard] = 0.0
        self.silent[quiet] += 1.0
        self.log_p[quiet] += log_silence(mean[~came], dispersion[~came])


@dataclass(slots=True)
class ServiceRates(Columns):
    """What is known of G services: the groups in which templates are counted.

    first_ms  : Numbers [G], when the first line came; 0 for never
    lines     : Numbers [G], lines learnt, fading
    errors    : Numbers [G], lines of high severity among them
    square    : Numbers [G], squares of what had not been expected of the errors
    predicted : Numbers [G], errors that had been expected
    new       : Numbers [G], templates and parameter values that were new within the last week, fading
    """

    first_ms: Numbers
    lines: Numbers
    errors: Numbers
    square: Numbers
    predicted: Numbers
    new: Numbers

    def expected_errors(self, lines: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Mean, its standard error and dispersion, Numbers [G] each, of the errors among so many lines."""
        share = (self.errors + PRIOR_ERRORS) / (self.lines + PRIOR_LINES)
        dispersion = (self.square + PRIOR_DISPERSION * PRIOR_WEIGHT) / (self.predicted + PRIOR_WEIGHT)
        return (
            lines * share,
            lines * np.sqrt(share / (self.lines + PRIOR_LINES)),
            np.maximum(dispersion, 1.0),
        )

    def learn(self, lines: Numbers, errors: Numbers, odd: Mask) -> None:
        """One step: lines and errors, Numbers [G] each; services without lines learn nothing.

        odd : Mask [G], services whose errors are too many now
        """
        mean, _, dispersion = self.expected_errors(lines)
        cut = np.where(odd, CUT_OF_ODD, CUT) * np.sqrt(dispersion * (mean + 1.0)) + np.where(
            odd, 0.0, CUT / 2
        )
        count = np.minimum(errors, mean + cut)
        rows = np.flatnonzero(lines > 0)
        fade = 1.0 - 1.0 / FADE_STEPS
        telling = rows[self.lines[rows] >= FIRST_LINES]
        self.square[telling] = self.square[telling] * fade + (count[telling] - mean[telling]) ** 2
        self.predicted[telling] = self.predicted[telling] * fade + mean[telling]
        self.lines[rows] = self.lines[rows] * fade + lines[rows]
        self.errors[rows] = self.errors[rows] * fade + count[rows]


@dataclass(slots=True)
class Members(Columns):
    """What is known of M series, each a signature of a service.

    lines      : Numbers [M], lines so far, fading
    value      : Numbers [M], distinct parameter values when last seen; 0 where never
    changed_ms : Numbers [M], when that number last changed
    """

    lines: Numbers
    value: Numbers
    changed_ms: Numbers


@dataclass(slots=True)
class Episodes(Columns):
    """What is going on in each of K templates or services.

    kind : Numbers [K], number of a kind of alarm; 0 for none
    calm : Numbers [K], steps since it was last odd
    age  : Numbers [K], steps since it began
    told : Numbers [K], 1 + number of the member at which it is told; 0 before it was
    """

    kind: Numbers
    calm: Numbers
    age: Numbers
    told: Numbers

    def follow(self, kind: Numbers, lasting: Mask, calm_steps: int) -> Numbers:
        """One step on: what is odd now by kind, Numbers [K], and what is odd enough to last, Mask [K].

        Returns the kind of what begins or goes on in this step, Numbers [K].
        """
        self.kind = np.where(kind > 0, kind, self.kind)
        self.calm = np.where((kind > 0) | lasting, 0.0, self.calm + 1.0)
        self.kind[self.calm >= calm_steps] = 0.0
        self.age = np.where(self.kind > 0, self.age + 1.0, 0.0)
        self.told[self.kind == 0] = 0.0
        return np.where(self.calm == 0.0, self.kind, 0.0)
