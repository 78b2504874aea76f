"""The detector of services whose signals, taken together, are not as they usually are.

A series of the panel is a service, its features are the service's signals. Each service has its own scale,
level and correlations; a forest over all services' distances raises what is an odd combination. An alarm says
which signals drove it, and whether they went together (`joint rise`, `joint drop`) or parted (`correlation
break`).

Guarantees:
- `update` judges a step with what was known before it; splitting a panel changes nothing, nor does the order
  of its series, but for the seeding of the forest.
- A service is judged once `learn_steps` of its steps were seen, and learnt anew at twice and four times as
  many; with `fit`, from all history that is given. From three days on, that tells what is usual at each time
  of the day. Only the level is followed all the time.
- Services that have not been seen for `FORGET_MS` are forgotten at the end of an `update`.

Each signal counts as a series where the rate of false alarms is concerned: a service of F signals may alarm
F times as often as one, that is as often as F detectors of one signal each.

Cost: F² + 56F numbers a service once learnt; until then its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from detectors.detector import SEVERITIES, TICKET, Panel, SeriesName, State, Verdicts
from detectors.joint_bank import Bank, Measured, hold_alarms, measure, smooth
from detectors.joint_lessons import History, learn_services
from detectors.tail import BLOCKS_MIN, score_at_rate, step_tail
from models.arrays import Mask, Numbers, Rows
from models.forest import Forest
from models.joint import breaks_apart, signal_shares
from models.joint_scale import usable

__all__ = ["MultivariateDetector"]

WEEK_MS = 7 * 86_400_000
FORGET_MS = 2 * WEEK_MS
STEP_MS = 60_000
"""Length of a step where a panel of one step is all that was ever seen."""

LEARN_STEPS = 240
RELEARN = (2, 4)
"""Multiples of `learn_steps` at which a service is learnt anew."""

QUIET_STEPS = 60
"""Low scores in a row that end an anomaly."""

EXPLAIN_TAIL = 0.01
"""Steps less likely than this are explained."""

STATE_VERSION = 1


class MultivariateDetector:
    """Judges all signals of a service jointly; see the module.

    false_alarms_per_series_per_week : of each signal, on normal data
    learn_steps : steps of a service that are seen before it is judged
    quiet_steps : low scores in a row that end an anomaly
    severity    : of an alarm, one of `SEVERITIES`
    seed        : of the forest

    Raises ValueError where a setting is out of bounds.
    """

    name = "multivariate"

    def __init__(
        self,
        *,
        false_alarms_per_series_per_week: float = 0.1,
        learn_steps: int = LEARN_STEPS,
        quiet_steps: int = QUIET_STEPS,
        severity: str = SEVERITIES[TICKET],
        seed: int = 0,
    ) -> None:
        rate = false_alarms_per_series_per_week
        if not 0 < rate < np.inf:
            raise ValueError(f"false_alarms_per_series_per_week={rate}, expected a rate above 0")
        if learn_steps < BLOCKS_MIN or quiet_steps < 1:
            raise ValueError(
                f"learn_steps={learn_steps}, quiet_steps={quiet_steps}; expected at least {BLOCKS_MIN} and 1"
            )
        if severity not in SEVERITIES[1:]:
            raise ValueError(f"severity={severity!r}, expected one of {', '.join(SEVERITIES[1:])}")
        self._rate = float(rate)
        self._learn_steps = int(learn_steps)
        self._quiet_steps = int(quiet_steps)
        self._severity = SEVERITIES.index(severity)
        self._seed = int(seed)
        self._clear()

    def _clear(self) -> None:
        self._features: tuple[str, ...] = ()
        self._step_ms = 0
        self._last_ms: int | None = None
        self._bank = Bank.empty(0)
        self._place: dict[SeriesName, int] = {}
        self._young: dict[SeriesName, History] = {}
        self._seen_ms: dict[SeriesName, int] = {}
        self._forest: Forest | None = None

    def fit(self, panel: Panel) -> Self:
        """Learn each service from its whole history; what is shorter than `learn_steps` is kept for later."""
        self._clear()
        self._look_at(panel)
        seen = {name: History.of(panel, column) for column, name in enumerate(panel.series)}
        self._learn({name: found for name, found in seen.items() if len(found.times) >= self._learn_steps})
        self._young = {
            name: found
            for name, found in seen.items()
            if 0 < len(found.times) < self._learn_steps * RELEARN[-1]
        }
        self._forget(panel)
        return self

    def score(self, panel: Panel) -> Verdicts:
        """Judge each step as if it came next after the one before it; nothing is kept."""
        before = self.state()
        try:
            return self.update(panel)
        finally:
            self.restore(before)

    def update(self, panel: Panel) -> Verdicts:
        """Judge each step, then learn from it.

        Raises ValueError where the signals are others than before.
        """
        self._look_at(panel)
        parts = []
        start = 0
        while start < len(panel):
            stop, due = self._next_lesson(panel, start)
            part = panel.rows(start, stop)
            parts.append(self._judge(part))
            self._remember(part)
            self._learn({name: self._young[name] for name in due})
            for name in due:
                if len(self._young[name].times) >= self._learn_steps * RELEARN[-1]:
                    del self._young[name]
            start = stop
        self._forget(panel)
        return Verdicts.joined(parts) if parts else Verdicts.empty(0, len(panel.series), len(panel.features))

    def state(self) -> State:
        """All that has been learnt."""
        names = list(self._place)
        return {
            "detector": self.name,
            "version": STATE_VERSION,
            "features": list(self._features),
            "step_ms": self._step_ms,
            "last_ms": self._last_ms,
            "series": [list(name) for name in names],
            "bank": self._bank.rows(np.array([self._place[name] for name in names], np.int64)).arrays(),
            "young": [
                {"series": list(name), "times": young.times, "values": young.values}
                for name, young in self._young.items()
            ],
            "seen": [{"series": list(name), "at_ms": at_ms} for name, at_ms in self._seen_ms.items()],
            "forest": None if self._forest is None else self._forest.arrays(),
        }

    def restore(self, state: State) -> None:
        """Continue exactly where `state` was taken.

        Raises ValueError if it is not a state of this detector and version.
        """
        if state.get("detector") != self.name or state.get("version") != STATE_VERSION:
            raise ValueError(
                f"state of detector {self.name!r}, version {STATE_VERSION} expected, got "
                f"{state.get('detector')!r}, version {state.get('version')!r}; fit the detector anew"
            )
        self._clear()
        self._features = tuple(state["features"])
        self._step_ms = int(state["step_ms"])
        self._last_ms = None if state["last_ms"] is None else int(state["last_ms"])
        self._bank = Bank.from_arrays(state["bank"])
        self._place = {tuple(name): place for place, name in enumerate(state["series"])}
        self._young = {
            tuple(entry["series"]): History(
                np.array(entry["times"], np.int64), np.array(entry["values"], np.float64)
            )
            for entry in state["young"]
        }
        self._seen_ms = {tuple(entry["series"]): int(entry["at_ms"]) for entry in state["seen"]}
        self._forest = None if state["forest"] is None else Forest.from_arrays(state["forest"])

    def _look_at(self, panel: Panel) -> None:
        """Check the panel's signals and learn the length of a step from the first panel that tells it."""
        if not self._features:
            self._features = panel.features
            self._bank = Bank.empty(len(panel.features))
        if panel.features != self._features:
            raise ValueError(
                f"signals {', '.join(self._features)} expected, got {', '.join(panel.features)}; "
                "use one detector for each set of signals, or fit it anew"
            )
        times = panel.times if self._last_ms is None else np.append(self._last_ms, panel.times)
        if not self._step_ms and len(times) > 1:
            self._step_ms = int(np.median(np.diff(times)))
        if len(panel):
            self._last_ms = int(panel.times[-1])

    def _judge(self, panel: Panel) -> Verdicts:
        verdicts = Verdicts.empty(len(panel), len(panel.series), len(panel.features))
        columns = np.array([i for i, name in enumerate(panel.series) if name in self._place], np.int64)
        if not len(columns):
            return verdicts
        places = np.array([self._place[panel.series[column]] for column in columns], np.int64)
        bank = self._bank.rows(places)
        measured, bank = measure(panel.times, usable(panel.values[:, columns]), bank, self._forest)
        scores, bank = smooth(measured.oddness, bank)
        alarms, bank = hold_alarms(scores, bank, self._threshold(bank), quiet_steps=self._quiet_steps)
        tail = step_tail(scores, bank.location, bank.scale, bank.block_steps)
        self._bank = self._bank.with_rows(places, bank)

        verdicts.tail[:, columns] = tail
        verdicts.alarm[:, columns] = alarms
        verdicts.severity[:, columns] = np.where(alarms, self._severity, 0)
        verdicts.expected[:, columns] = measured.expected
        _explain(verdicts, columns, alarms | (tail < EXPLAIN_TAIL), measured, bank)
        return verdicts

    def _threshold(self, bank: Bank) -> Numbers:
        """The score above which an anomaly begins: Numbers [S]."""
        steps = WEEK_MS / (self._step_ms or STEP_MS)
        alarms = self._rate * len(self._features)
        return score_at_rate(alarms, steps, bank.location, bank.scale, bank.block_steps)

    def _next_lesson(self, panel: Panel, start: int) -> tuple[int, list[SeriesName]]:
        """The step behind which services are to be learnt, at the latest the last, and which services."""
        rest = panel.values[start:]
        ends: dict[SeriesName, int] = {}
        for column, name in enumerate(panel.series):
            if name in self._place and name not in self._young:
                continue
            known = len(self._young[name].times) if name in self._young else 0
            wanted = next(
                count for count in (self._learn_steps * factor for factor in (1, *RELEARN)) if count > known
            )
            seen = np.flatnonzero(np.isfinite(rest[:, column]).any(axis=1))
            if len(seen) >= wanted - known:
                ends[name] = start + int(seen[wanted - known - 1]) + 1
        stop = min(ends.values(), default=len(panel))
        return stop, [name for name, end in ends.items() if end == stop]

    def _remember(self, panel: Panel) -> None:
        """Keep the rows of services that are still to be learnt."""
        for column, name in enumerate(panel.series):
            if name in self._place and name not in self._young:
                continue
            found = History.of(panel, column)
            if len(found.times):
                before = self._young.get(name)
                self._young[name] = found if before is None else before.then(found)

    def _learn(self, histories: Mapping[SeriesName, History]) -> None:
        """Learn services anew; the forest only where there is none."""
        if not histories:
            return
        places = np.array([self._place.setdefault(name, len(self._place)) for name in histories], np.int64)
        learnt, self._forest = learn_services(list(histories.values()), self._forest, seed=self._seed)
        # What lasts goes on lasting: a new lesson is no news of the service.
        known = np.flatnonzero(places < len(self._bank))
        before = self._bank.rows(places[known])
        learnt.lasting[known], learnt.quiet[known] = before.lasting, before.quiet
        self._bank = self._bank.with_rows(places, learnt)

    def _forget(self, panel: Panel) -> None:
        """Note when services were seen, and drop those that have not been for `FORGET_MS`."""
        seen: Mask = np.asarray(np.isfinite(panel.values).any(axis=2))
        for column in np.flatnonzero(seen.any(axis=0)).tolist():
            self._seen_ms[panel.series[column]] = int(panel.times[seen[:, column]][-1])
        if self._last_ms is None:
            return
        gone = {name for name, at_ms in self._seen_ms.items() if at_ms < self._last_ms - FORGET_MS}
        if not gone:
            return
        kept = [name for name in self._place if name not in gone]
        self._bank = self._bank.rows(np.array([self._place[name] for name in kept], np.int64))
        self._place = {name: place for place, name in enumerate(kept)}
        self._young = _without(self._young, gone)
        self._seen_ms = _without(self._seen_ms, gone)


def _explain(verdicts: Verdicts, columns: Rows, odd: Mask, measured: Measured, bank: Bank) -> None:
    """Fill in direction, contributions and kind of the steps marked in odd : Mask [T, S]."""
    shares = signal_shares(measured.offsets, measured.along, bank.directions) * measured.raised[..., None]
    signed = np.sign(measured.offsets) * np.maximum(shares, 0.0)
    verdicts.contributions[:, columns] = np.where(odd[..., None], signed, 0.0)
    direction = np.sign(signed.sum(axis=-1)).astype(np.int8)
    verdicts.direction[:, columns] = np.where(odd, direction, 0)
    apart = breaks_apart(measured.along, bank.leading) > 1.0
    word = np.where(apart, "correlation break", np.where(direction < 0, "joint drop", "joint rise"))
    verdicts.kind[:, columns] = np.where(odd, word, "").astype(np.object_)


def _without(entries: Mapping[SeriesName, Any], gone: Iterable[SeriesName]) -> dict[SeriesName, Any]:
    names = set(gone)
    return {name: entry for name, entry in entries.items() if name not in names}
