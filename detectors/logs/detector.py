"""Log templates on the stream: new ones, vanished ones, surges, a worse mix of severities, new parameter
values.

Input is a count of lines for each signature (`streams.derive`) and step. Signatures are grouped to
templates here, by `models.logs.drain`, within each service (all labels but the signature); a template is
judged as one series and its verdict stands at the signature that had most to do with it.

    new template        : its first line, once the service has been known for `warm_up_hours`
    surge               : more lines than its own rate of that hour of the day explains
    vanished template   : a silence that its rate does not explain, twice as long as any it has had
    severity mix        : more errors among a service's lines than its share explains
    new parameter value : more distinct values of a signature's parameters, where their number had been the
                          same for `warm_up_hours`

A service that has no line at all in a step is not judged in it: that it is silent is for others to tell.

How many alarms: a surge or a silence is one where its tail is below what `false_alarms_per_series_per_week`
allows a step, tails being corrected by what all templates have shown. For what is new there is no
distribution: a service has a budget of the same rate times its templates (one a week at least), and news
beyond it is reported without alarm. An alarm lasts as long as what it tells, at one and the same signature;
news last one step.

What works when: with the first line, the catalogue. After `warm_up_hours`, all kinds; rates know the hour
of the day after one day. Memory: 600 bytes a template, and its text.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from detectors.api.detector import Panel, State, Verdicts
from detectors.api.stateful import Stateful
from detectors.logs.memory import LogMemory
from detectors.logs.step import LogFeatures, LogSettings, LogStep, judge, learn, lines_of
from detectors.logs.verdicts import write
from models.calendar.units import HOUR_MS
from models.logs.catalog import TemplateCatalog
from models.logs.reviews import Review


class LogTemplateDetector(Stateful):
    """Judges counts of lines by signature; see the module for what it finds.

    Settings
    false_alarms_per_series_per_week : how often a template may alarm without cause
    warm_up_hours   : time from a service's first line until anything alarms
    signature_label : which label of a series is the signature
    count, errors, values : names of features: lines, the first that is there; lines of high severity, all
                      that are there; distinct parameter values of a step or a longer window, the first
    lines_min       : fewer lines (of a surge; a third of it for errors) are never an alarm
    ratio_min       : a surge or mix has at least this many times the lines expected
    values_max      : parameters with more distinct values are not watched
    """

    name = "logs"

    def __init__(
        self,
        *,
        false_alarms_per_series_per_week: float = 0.1,
        warm_up_hours: float = 24.0,
        signature_label: int = -1,
        count: Sequence[str] = ("count", "total", "lines", "events"),
        errors: Sequence[str] = ("errors", "error", "fatal", "critical"),
        values: Sequence[str] = ("values", "distinct parameters"),
        lines_min: int = 10,
        ratio_min: float = 2.0,
        values_max: int = 20,
    ) -> None:
        if not false_alarms_per_series_per_week > 0:
            raise ValueError(
                f"false_alarms_per_series_per_week > 0 expected, got {false_alarms_per_series_per_week}"
            )
        if warm_up_hours < 0 or lines_min < 1 or ratio_min < 1 or values_max < 1:
            raise ValueError(
                "warm_up_hours >= 0, lines_min >= 1, ratio_min >= 1 and values_max >= 1 expected, "
                f"got {warm_up_hours}, {lines_min}, {ratio_min} and {values_max}"
            )
        self.signature_label = signature_label
        self.count, self.errors, self.values = _names(count), _names(errors), _names(values)
        self.settings = LogSettings(
            rate=false_alarms_per_series_per_week,
            warm_up_ms=warm_up_hours * HOUR_MS,
            lines_min=lines_min,
            ratio_min=ratio_min,
            values_max=values_max,
        )
        self._memory = LogMemory(signature_label)

    @property
    def alarm_tail(self) -> float:
        """Tail of a step below which it is an alarm."""
        return self.settings.alpha(self._memory.step_ms)

    @property
    def catalog(self) -> TemplateCatalog:
        """The templates, to be exported; see `review` for decisions about them."""
        return self._memory.catalog

    def review(self, reviews: Iterable[Review]) -> None:
        """Take decisions about templates over; raises ValueError for an id of no template."""
        self._memory.review(reviews)

    def decide(self, reviews: Iterable[Review]) -> bool:
        """Take a whole review over in place of all decisions so far, save that merges stay; what it says of
        templates that have not come yet holds once they do. Returns whether that changes any decision."""
        return self._memory.decide(reviews)

    def services(self) -> dict[str, tuple[str, ...]]:
        """The services in which each signature has had a line, sorted; a service's labels joined by `, `."""
        return self._memory.slots.services_of_signatures()

    def fit(self, panel: Panel) -> Self:
        """Forget everything, reviews included, and learn from history."""
        self._memory = LogMemory(self.signature_label)
        self.update(panel)
        return self

    def score(self, panel: Panel) -> Verdicts:
        """What `update` would say; nothing is kept."""
        return copy.deepcopy(self).update(panel)

    def update(self, panel: Panel) -> Verdicts:
        """Judge each step, then learn from it; raises ValueError where no feature counts lines."""
        features = LogFeatures.named(panel.features, self.count, self.errors, self.values)
        verdicts = Verdicts.empty(*panel.values.shape)
        memory, slots = self._memory, self._memory.slots
        member, service = slots.members(panel.series), slots.services(panel.series)
        for row, time_ms in enumerate(panel.times.tolist()):
            memory.move_to(time_ms)
            step = LogStep.of(time_ms, panel.values[row], features, member, service)
            new = np.flatnonzero((step.counts > 0) & (member < 0)).tolist()
            new_slots = np.zeros(0, np.int64)
            if new:
                new_slots = memory.add(sorted(panel.series[column] for column in new), time_ms)
                step.member = member = slots.members(panel.series)
                step.service = service = slots.services(panel.series)
            judge(step, memory, self.settings, new_slots)
            write(verdicts, row, step, memory, features, self.settings.alpha(memory.step_ms))
            learn(step, memory)
        if len(panel):
            self._count_lines(panel, features)
        return verdicts

    def _count_lines(self, panel: Panel, features: LogFeatures) -> None:
        counts = lines_of(panel.values[:, :, features.count])
        seen = np.flatnonzero(counts.any(axis=0))
        last = len(panel) - 1 - (counts[::-1, seen] > 0).argmax(axis=0)
        series = [panel.series[column] for column in seen]
        self._memory.count_lines(series, counts[:, seen].sum(axis=0).astype(np.int64), panel.times[last])

    def _learnt(self) -> Mapping[str, Any]:
        return {"memory": self._memory.state()}  # templates and reviews included

    def _load(self, state: State) -> None:
        self._memory = LogMemory.restored(self.signature_label, state["memory"])

    def adopt(self, state: State) -> None:
        """Take over another detector's catalogue of templates and its tails, and what it knows of series that
        this one does not; what is known of each one stays, and so do reviews.

        Raises ValueError if it is not a state of this detector and version.
        """
        other = LogTemplateDetector(signature_label=self.signature_label)
        other.restore(state)
        self._memory.adopt(other._memory)


def _names(names: Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
