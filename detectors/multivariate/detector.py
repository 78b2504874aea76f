"""The detector of services whose signals, taken together, are not as they usually are.

A series of the panel is a service, its features are the service's signals. Each service has its own scale,
level and correlations; a forest over all services' distances raises what is an odd combination. An alarm says
which signals drove it, and whether they went together (`joint rise`, `joint drop`) or parted (`correlation
break`).

Guarantees:
- `update` judges a step with what was known before it; splitting a panel changes nothing, nor does the order
  of its series, but for the seeding of the forest.
- With `fit`, a service is learnt from all history that is given, if that is `HISTORY_FACTOR * learn_steps`
  or more. From three days on, that tells what is usual at each time of the day. Then only the level is
  followed.
- Without, it is judged once `learn_steps` of its steps were seen, and learnt all the time; on the first day
  only what is overwhelming alarms, and from the second day on its time of the day counts. See
  `detectors.multivariate.online`.
- A step is an alarm if its tail is below `alarm_tail`. An anomaly lasts on through steps that are odd, but
  not so odd; their tails are set just below it, in their order.
- Services that have not been seen for `EXPIRY_MS` are forgotten at the end of an `update`.

Each signal counts as a series where the rate of false alarms is concerned: a service of F signals may alarm
F times as often as one, that is as often as F detectors of one signal each.

Cost: 2F² + 105F + 140 numbers a service once learnt; until then its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np

from detectors.api.detector import SEVERITIES, TICKET, Panel, SeriesName, State, Verdicts
from detectors.api.stateful import Stateful
from detectors.calibration.block_maxima import BLOCK_STEPS, BLOCKS_MIN, step_tail
from detectors.multivariate.bank import Bank, Measured, hold_alarms, measure, smooth
from detectors.multivariate.online import begin, count_moments, end_blocks
from detectors.multivariate.training import History, Trainer, learn_services
from models.anomaly.forest import Forest
from models.anomaly.joint import breaks_apart, signal_shares
from models.anomaly.joint_scale import usable
from models.arrays import Mask, Rows
from models.calendar.units import DAY_MS, MINUTE_MS, WEEK_MS

__all__ = ["MultivariateDetector"]

EXPIRY_MS = 2 * WEEK_MS
STEP_MS = MINUTE_MS
"""Length of a step where a panel of one step is all that was ever seen."""

LEARN_STEPS = 240
HISTORY_FACTOR = 4
"""A history of so many times `learn_steps` is learnt from at once; after a shorter one learning goes on."""

QUIET_STEPS = 60
"""Low scores in a row that end an anomaly."""

ALARM_TAIL_MAX = 0.01
"""However many false alarms are accepted, what is more usual is no anomaly."""

EXPLAIN_TAIL = 0.01
"""Steps less likely than this are explained."""


class MultivariateDetector(Stateful):
    """Judges all signals of a service jointly; see the module.

    false_alarms_per_series_per_week : of each signal, on normal data
    learn_steps : steps of a service that are seen before it is judged
    quiet_steps : low scores in a row that end an anomaly
    severity    : of an alarm, one of `SEVERITIES`
    seed        : of the forest

    Raises ValueError where a setting is out of bounds.
    """

    name = "multivariate"
    state_version = 2

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

    @property
    def alarm_tail(self) -> float:
        """Tail of a step below which an anomaly begins."""
        rate = self._rate * max(len(self._features), 1)
        return min(rate * (self._step_ms or STEP_MS) / WEEK_MS, ALARM_TAIL_MAX)

    def fit(self, panel: Panel) -> Self:
        """Learn each service from its whole history; what is shorter than `learn_steps` is kept for later."""
        self._clear()
        self._look_at(panel)
        seen = {name: History.of(panel, column) for column, name in enumerate(panel.series)}
        whole, short, self._young = {}, {}, {}
        for name, found in seen.items():
            count = len(found.times)
            if count >= self._learn_steps * HISTORY_FACTOR:
                whole[name] = found
            elif count >= self._learn_steps:
                short[name] = found
            elif count:
                self._young[name] = found
        self._learn(whole, learn_services)
        self._learn(short, begin)
        self._expire(panel)
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
            stop = self._next_training(panel, start)
            part = panel.rows(start, stop)
            parts.append(self._judge(part))
            self._remember(part)
            self._learn_due(part)
            start = stop
        self._expire(panel)
        return Verdicts.joined(parts) if parts else Verdicts.empty(0, len(panel.series), len(panel.features))

    def _learnt(self) -> Mapping[str, Any]:
        names = list(self._place)
        return {
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

    def _load(self, state: State) -> None:
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

    def adopt(self, state: State) -> None:
        """Go on with another detector's forest, and with what it knows of services that this one does not.

        Raises ValueError if it is not a state of this detector and version, or of other signals.
        """
        other = MultivariateDetector(learn_steps=self._learn_steps)
        other.restore(state)
        if self._features and other._features != self._features:
            raise ValueError(
                f"a model of signals {', '.join(self._features)} expected, got {', '.join(other._features)}; "
                "train it on what it is to judge"
            )
        if not other._features:
            return
        if not self._features:
            self._features, self._bank = other._features, Bank.empty(len(other._features))
        self._step_ms = self._step_ms or other._step_ms
        self._forest = other._forest or self._forest
        new = [name for name in other._place if name not in self._place]
        learnt = other._bank.rows(np.array([other._place[name] for name in new], np.int64))
        # an anomaly of the history is none of the stream
        calm = replace(
            learnt,
            lasting=np.zeros(len(new), np.bool_),
            quiet=np.zeros(len(new), np.int64),
            peak=learnt.peak * 0,
        )
        self._bank = self._bank.with_rows(np.arange(len(new)) + len(self._bank), calm)
        for name in new:
            self._place[name] = len(self._place)
            last_ms = other._seen_ms[name] if self._last_ms is None else self._last_ms
            self._seen_ms.setdefault(name, last_ms)
        self._young = _without(self._young, new)

    def _look_at(self, panel: Panel) -> None:
        """Check the panel's signals and learn the length of a step from the first panel that tells it."""
        if not self._features:
            self._features = panel.features
            self._bank = Bank.empty(len(panel.features))
        if panel.features != self._features:
            raise ValueError(
                f"signals {', '.join(self._features)} expected, got {', '.join(panel.features)}; "
                "use one detector for each set of signals, or fit it again"
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
        tail = step_tail(scores, bank.location, bank.scale, bank.block_steps)
        alarms, bank = hold_alarms(tail, bank, self.alarm_tail, quiet_steps=self._quiet_steps)
        learning = np.flatnonzero(bank.online)
        if len(learning):
            followed = count_moments(
                measured.offsets[:, learning], scores[:, learning], alarms[:, learning], bank.rows(learning)
            )
            bank = bank.with_rows(learning, followed)
        self._bank = self._bank.with_rows(places, bank)
        # Between the steps that are odd by themselves, an anomaly that lasts is no less so.
        held = alarms & (tail >= self.alarm_tail)
        tail = np.where(held, self.alarm_tail * (0.5 + 0.49 * tail), tail)

        verdicts.tail[:, columns] = tail
        verdicts.alarm[:, columns] = alarms
        verdicts.severity[:, columns] = np.where(alarms, self._severity, 0)
        verdicts.expected[:, columns] = measured.expected
        _explain(verdicts, columns, alarms | (tail < EXPLAIN_TAIL), measured, bank)
        return verdicts

    def _next_training(self, panel: Panel, start: int) -> int:
        """The next step after which something is relearnt, at the latest the last."""
        missing = np.array([self._missing(name) for name in panel.series], np.int64)
        if not missing.any():
            return len(panel)
        # Where nothing is learnt within so many steps, a stop does no harm.
        stop = min(start + self._learn_steps, len(panel))
        seen = np.isfinite(panel.values[start:stop]).any(axis=2)
        complete = ((np.cumsum(seen, axis=0) >= missing) & (missing > 0)).any(axis=1)
        return start + int(complete.argmax()) + 1 if complete.any() else stop

    def _missing(self, name: SeriesName) -> int:
        """Steps of a service until there is something to be learnt of it; 0 for never."""
        place = self._place.get(name)
        if place is None:
            return self._learn_steps - (len(self._young[name].times) if name in self._young else 0)
        if self._bank.online[place]:
            return BLOCK_STEPS - int(self._bank.age[place]) % BLOCK_STEPS
        return 0

    def _remember(self, panel: Panel) -> None:
        """Keep the rows of services that are still to be learnt."""
        for column, name in enumerate(panel.series):
            if name in self._place:
                continue
            found = History.of(panel, column)
            if len(found.times):
                before = self._young.get(name)
                self._young[name] = found if before is None else before.then(found)

    def _learn_due(self, panel: Panel) -> None:
        """Learn what the panel's last step completes: blocks of services, and first trainings."""
        last = np.isfinite(panel.values[-1]).any(axis=1)
        names = [panel.series[column] for column in np.flatnonzero(last).tolist()]
        places = np.array([self._place[name] for name in names if name in self._place], np.int64)
        places = places[self._bank.online[places] & (self._bank.age[places] % BLOCK_STEPS == 0)]
        if len(places):
            day_steps = DAY_MS / (self._step_ms or STEP_MS)
            self._bank = end_blocks(self._bank, places, max(1, round(day_steps / BLOCK_STEPS)))
        grown = {
            name: history for name, history in self._young.items() if len(history.times) >= self._learn_steps
        }
        self._learn(grown, begin)
        self._young = _without(self._young, grown)

    def _learn(self, histories: Mapping[SeriesName, History], training: Trainer) -> None:
        """Learn services; the forest only where there is none."""
        if not histories:
            return
        places = np.array([self._place.setdefault(name, len(self._place)) for name in histories], np.int64)
        learnt, self._forest = training(list(histories.values()), self._forest, seed=self._seed)
        self._bank = self._bank.with_rows(places, learnt)

    def _expire(self, panel: Panel) -> None:
        """Note when services were seen, and drop those that have not been for `EXPIRY_MS`."""
        seen: Mask = np.asarray(np.isfinite(panel.values).any(axis=2))
        for column in np.flatnonzero(seen.any(axis=0)).tolist():
            self._seen_ms[panel.series[column]] = int(panel.times[seen[:, column]][-1])
        if self._last_ms is None:
            return
        gone = {name for name, at_ms in self._seen_ms.items() if at_ms < self._last_ms - EXPIRY_MS}
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
