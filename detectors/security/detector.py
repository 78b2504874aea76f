"""The security detector: addresses, networks, users, keys, sessions that attack, or behave unlike all others.

Each step is judged twice, over the minute and the ten minutes that end with it: by rules for sequences that
mean something by themselves, which work from the first step on, and at whole minutes by an isolation forest
over all entities, which learns what is ordinary from those that were not flagged. A verdict's kind is the
rule's name, or `unusual`; `reasons` says why in words with numbers.

Cold start: rules at once; the forest once `baseline.ROWS_MIN` entity-minutes of some traffic were seen, and
until then entities that no rule flags have a tail of 1. One panel holds entities of one kind, since what is
normal differs between kinds.

Axes: T steps, S series, F features of the panel, N entities seen in a step, C counts, K features of the
      forest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import numpy as np

from detectors.api.detector import INFO, Panel, SeriesName, State, Verdicts
from detectors.api.stateful import Stateful
from detectors.security.baseline import Baseline
from detectors.security.entity_explanation import count_shares, expected_counts, unusual_reason
from detectors.security.entity_features import (
    FEATURES,
    REQUESTS,
    CountName,
    EntityCounts,
    count_name,
    feature_matrix,
)
from detectors.security.entity_memory import EntityMemory
from detectors.security.sequence_rules import (
    PRIOR_REQUESTS,
    PRIOR_SHARE,
    Bounds,
    Finding,
    Surroundings,
    find_sequences,
    try_rules,
)
from models.arrays import Mask, Numbers, Rows
from models.calendar import zone
from models.calendar.units import DAY_MS, HOUR_MS, MINUTE_MS

WEEK_STEPS = 7 * 24 * 60
"""Minutes of a week, in each of which an entity is judged once by the forest."""

FLAGGED_MS = HOUR_MS
"""Flagged entities are left out of the baseline for this long."""

LEARN_REQUESTS = 5
"""Entity-minutes of fewer requests have no shape to learn."""

OTHER = "__other__"
"""Entities beyond the limit, counted together: no entity, so never judged."""

UNUSUAL = "unusual"

WHOLE: tuple[CountName, ...] = ("distinct user", "distinct agent", "distinct client")
"""Counts that are not the sum of their steps, and far from it: a user is the same in each."""

PEAKED: tuple[CountName, ...] = ("distinct missed_path", "distinct failed_user", "4xx")
"""Counts of which rules ask for the largest step."""

_HIGHS = np.array([feature.high for feature in FEATURES])


@dataclass(slots=True)
class _Step:
    """Verdicts of the N entities that were seen in a step, by their positions in the panel."""

    rows: Rows
    slots: Rows
    counts: EntityCounts
    findings: list[Finding]
    tail: Numbers
    unusual: Mask
    matrix: Numbers


class SecurityDetector(Stateful):
    """Finds attackers among entities.

    false_alarms_per_series_per_week : of the forest, for an entity that is active all the time
    scale         : factor of the amounts that rules ask for; 3 suits networks, which are many clients
    unusual_requests : requests in a minute below which an entity is never called unusual
    forget_ms     : how long an entity may be silent before it is forgotten
    entity_count_max : entities remembered
    time_zone, night  : when night is, in hours of local time
    bounds        : of the rules, before scaling
    """

    name = "security"

    def __init__(
        self,
        *,
        false_alarms_per_series_per_week: float = 0.1,
        scale: float = 1.0,
        unusual_requests: float = 30.0,
        forget_ms: int = DAY_MS,
        entity_count_max: int = 50_000,
        time_zone: str = "UTC",
        night: tuple[int, int] = (0, 6),
        trees: int = 100,
        seed: int = 0,
        bounds: Bounds | None = None,
    ) -> None:
        if false_alarms_per_series_per_week <= 0 or scale <= 0 or entity_count_max < 1:
            raise ValueError("false_alarms_per_series_per_week, scale and entity_count_max must be above 0")
        self._zone = zone.time_zone(time_zone)
        self._settings: dict[str, Any] = {
            "false_alarms_per_series_per_week": false_alarms_per_series_per_week,
            "scale": scale,
            "unusual_requests": unusual_requests,
            "forget_ms": forget_ms,
            "entity_count_max": entity_count_max,
            "time_zone": time_zone,
            "night": night,
            "trees": trees,
            "seed": seed,
            "bounds": bounds,
        }
        self.alarm_tail = false_alarms_per_series_per_week / WEEK_STEPS
        """Tail below which a step is an alarm; not so of those with few requests, see `unusual_requests`."""
        self._bounds = (bounds or Bounds()).scaled(scale)
        try_rules(self._bounds)
        self._unusual_requests = unusual_requests * scale
        self._night = night
        self.reasons: dict[SeriesName, tuple[str, ...]] = {}
        """Why each entity was flagged in the last step that `update` saw."""
        self._clear()

    def _clear(self) -> None:
        self.reasons = {}
        self._counts: tuple[str, ...] | None = None
        self._features: tuple[str, ...] = ()
        self._names: tuple[str, ...] = ()
        settings = self._settings
        self._baseline = Baseline(_HIGHS, trees=settings["trees"], seed=settings["seed"])
        self._learnt_ms = 0

    def fit(self, panel: Panel) -> Self:
        """Forget everything and learn what is ordinary from history, which may hold attacks."""
        self._clear()
        self.update(panel)
        return self

    def score(self, panel: Panel) -> Verdicts:
        """Verdicts of `update`, of a detector that is thrown away afterwards."""
        other = SecurityDetector(**self._settings)
        other.restore(self.state())
        return other.update(panel)

    def update(self, panel: Panel) -> Verdicts:
        """Judge each step, then learn from those that were not flagged.

        The panel's features are counts of the step: `requests`, and whichever of `4xx`, `401`, `403`, `404`,
        `429`, `5xx`, `get`, `post`, `bytes`, `logins`, `failed_logins`, `probes` and `distinct …` of `path`,
        `missed_path`, `user`, `failed_user`, `agent`, `client`, `second` there are. Steps of ten seconds find
        attacks sooner than those of a minute.

        Raises ValueError where `requests` is lacking, the features differ from those before, or time does not
        go on.
        """
        if panel.features != self._features:
            names = tuple(count_name(feature) for feature in panel.features)
            self._check(names)
            self._features = panel.features
        verdicts = Verdicts.empty(len(panel), len(panel.series), len(panel.features))
        for number in range(len(panel)):
            step = self._judge(int(panel.times[number]), panel.series, panel.values[number])
            if step is not None:
                self._write(verdicts, number, step)
                self._learn(step)
                self.reasons = {
                    panel.series[int(step.rows[row])]: self._reasons(step, row)
                    for row in np.flatnonzero(_flagged(step)).tolist()
                }
        return verdicts

    def _check(self, names: tuple[str, ...]) -> None:
        if REQUESTS not in names:
            raise ValueError(
                f"no feature {REQUESTS!r} among {', '.join(names) or 'none'}; count an entity's requests"
            )
        if self._counts is None:
            ordered = (REQUESTS, *sorted(name for name in names if name != REQUESTS))
            self._counts = ordered
            self._memory = EntityMemory(
                len(ordered),
                forget_ms=self._settings["forget_ms"],
                entity_count_max=self._settings["entity_count_max"],
            )
        elif sorted(names) != sorted(self._counts):
            before = ", ".join(self._counts)
            raise ValueError(f"features {', '.join(names)} after {before}; fit again, or make a new detector")
        self._columns = [names.index(name) for name in self._counts]
        self._names = names

    def _judge(self, at_ms: int, series: tuple[SeriesName, ...], values: Numbers) -> _Step | None:
        """The verdicts of a step; None where nobody was seen."""
        assert self._counts is not None
        self.reasons = {}
        if not len(series):
            return None
        wanted = np.nan_to_num(values[:, self._columns], nan=0.0, posinf=0.0, neginf=0.0)
        real = np.fromiter((not name or name[0] != OTHER for name in series), np.bool_, len(series))
        rows = np.flatnonzero((wanted[:, self._counts.index(REQUESTS)] > 0) & real)
        memory = self._memory
        slots = memory.add(
            at_ms, [series[row] for row in rows.tolist()], wanted[rows], night=self._is_night(at_ms)
        )
        rows, slots = rows[slots >= 0], slots[slots >= 0]
        if not len(rows):
            return None
        counts = EntityCounts(
            names=self._counts,
            minute=memory.minute[slots],
            span=memory.span[slots],
            dispersion=memory.dispersion(slots),
            first_ms=memory.first_ms[slots],
            now_ms=at_ms,
            night=memory.nights[slots] / (memory.lifetime[slots] + LEARN_REQUESTS),
        )
        peaks = self._note_peaks(counts, slots)
        findings = find_sequences(counts, peaks, self._surroundings(slots), self._bounds)
        matrix = np.zeros((0, len(FEATURES)))
        # between whole minutes only rules judge, which must not end what the forest began
        learnt = self._baseline.forest is not None
        tail, unusual = np.full(len(rows), np.nan if learnt else 1.0), np.zeros(len(rows), np.bool_)
        if at_ms - self._learnt_ms >= MINUTE_MS:
            matrix = feature_matrix(counts)
            tail = self._baseline.tail(matrix) if learnt else tail
            unusual = (tail < self.alarm_tail) & (counts.requests >= self._unusual_requests)
        return _Step(rows, slots, counts, findings, tail, unusual, matrix)

    def _note_peaks(self, counts: EntityCounts, slots: Rows) -> Callable[[CountName], Numbers]:
        """The largest step of the ten minutes, by count.

        Distinct users, agents and clients do not add up over steps: this stands for them in `counts`.
        """
        names = [name for name in counts.names if name in (*WHOLE, *PEAKED)]
        places = [counts.names.index(name) for name in names]
        peaks = self._memory.peaks(places)[slots]
        whole = [number for number, name in enumerate(names) if name in WHOLE]
        if whole:
            columns = [places[number] for number in whole]
            counts.minute[:, columns] = self._memory.peaks(columns, minute=True)[slots]
            counts.span[:, columns] = peaks[:, whole]
        zeros = np.zeros(len(slots))
        found: dict[str, Numbers] = {**dict.fromkeys(PEAKED, zeros), **dict(zip(names, peaks.T, strict=True))}
        return found.__getitem__

    def _surroundings(self, slots: Rows) -> Surroundings:
        """What entities that were not flagged do, for each entity without itself."""
        assert self._counts is not None
        counts, memory = self._counts, self._memory
        calm = memory.flagged_ms <= memory.now_ms - FLAGGED_MS
        total = memory.span[calm].sum(axis=0)
        requests = counts.index(REQUESTS)
        own = memory.span[slots] * calm[slots][:, None]

        def share(name: CountName) -> Numbers:
            if name not in counts:
                return np.full(len(slots), PRIOR_SHARE)
            place = counts.index(name)
            others = total[place] - own[:, place] + PRIOR_SHARE * PRIOR_REQUESTS
            found: Numbers = others / (total[requests] - own[:, requests] + PRIOR_REQUESTS)
            return found

        baseline = self._baseline
        usual_bytes = np.inf
        if baseline.forest is not None and "bytes" in counts:
            column = [feature.name for feature in FEATURES].index("bytes a minute")
            usual_bytes = float(np.expm1(np.quantile(baseline.rows[:, column], 0.999)))
        return Surroundings(share, int(np.count_nonzero(memory.span[:, requests])), usual_bytes)

    def _write(self, verdicts: Verdicts, number: int, step: _Step) -> None:
        rows, names = step.rows, self._names
        verdicts.tail[number, rows] = step.tail
        if self._baseline.forest is not None:
            part = self._memory.step_ms / MINUTE_MS
            verdicts.expected[number, rows] = expected_counts(self._baseline.forest, names, part)
        place = {name: column for column, name in enumerate(names)}
        for row in np.flatnonzero(step.unusual).tolist():
            verdicts.severity[number, rows[row]] = INFO
            verdicts.kind[number, rows[row]] = UNUSUAL
        self._explain_unusual(verdicts, number, step)
        for finding in reversed(step.findings):  # the gravest last, so that it stands
            hit = rows[finding.hit]
            if not len(hit):
                continue
            strength = finding.strength[finding.hit]
            likely = np.nextafter(self.alarm_tail, 0.0) * np.exp(1.0 - np.maximum(strength, 1.0))
            verdicts.tail[number, hit] = np.fmin(verdicts.tail[number, hit], likely)
            verdicts.severity[number, hit] = finding.severity
            verdicts.direction[number, hit] = 1
            verdicts.kind[number, hit] = finding.kind
            used = [place[name] for name in finding.counts if name in place]
            verdicts.contributions[number, hit[:, None], used] += np.log2(1.0 + strength)[:, None] / max(
                len(used), 1
            )
        verdicts.alarm[number, rows] = _flagged(step)

    def _explain_unusual(self, verdicts: Verdicts, number: int, step: _Step) -> None:
        hit = np.flatnonzero(step.unusual)
        if not len(hit):
            return
        forest = self._baseline.forest
        assert forest is not None
        shares = count_shares(forest, step.matrix[hit], self._names)
        rows = step.rows[hit]
        verdicts.contributions[number, rows] = shares
        top = np.argmax(np.abs(shares), axis=1)
        verdicts.direction[number, rows] = np.sign(shares[np.arange(len(hit)), top])

    def _reasons(self, step: _Step, row: int) -> tuple[str, ...]:
        found = tuple(
            f"{finding.kind}: {finding.reason(row)}" for finding in step.findings if finding.hit[row]
        )
        if found:
            return found
        forest = self._baseline.forest
        assert forest is not None, "without one nobody is unusual"
        return (f"{UNUSUAL}: {unusual_reason(forest, step.matrix[row])}",)

    def _learn(self, step: _Step) -> None:
        flagged = _flagged(step)
        self._memory.flagged_ms[step.slots[flagged]] = step.counts.now_ms
        if not len(step.matrix):
            return
        calm = self._memory.flagged_ms[step.slots] <= step.counts.now_ms - FLAGGED_MS
        calm &= step.counts.requests >= LEARN_REQUESTS
        self._baseline.learn(step.matrix[calm], step.counts.now_ms)
        self._learnt_ms = step.counts.now_ms

    def _is_night(self, at_ms: int) -> bool:
        hour = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self._zone).hour
        start, end = self._night
        return start <= hour < end if start <= end else hour >= start or hour < end

    def _learnt(self) -> Mapping[str, Any]:
        if self._counts is None:
            return {"counts": None}
        return {
            "counts": list(self._counts),
            "memory": self._memory.state(),
            "ordinary": self._baseline.state(),
            "learnt_ms": self._learnt_ms,
        }

    def _load(self, state: State) -> None:
        self._clear()
        counts = state["counts"]
        if counts is None:
            return
        self._check(tuple(counts))
        self._memory.load(state["memory"])
        self._baseline.load(state["ordinary"])
        self._learnt_ms = int(state["learnt_ms"])

    def trained(self) -> State:
        """A state that knows what is ordinary, and no address, user, key or session."""
        other = SecurityDetector(**self._settings)
        if self._counts is not None:
            other._check(tuple(self._counts))
            other._baseline, other._learnt_ms = self._baseline, self._learnt_ms
        return other.state()

    def adopt(self, state: State) -> None:
        """Take over what another detector has learnt of ordinary entities; what is known of each one stays.

        Raises ValueError if it is not a state of this detector and version.
        """
        other = SecurityDetector(**self._settings)
        other.restore(state)
        self._baseline = other._baseline


def _flagged(step: _Step) -> Mask:
    """Mask [N], who was found by a rule or the forest."""
    found: Mask = np.logical_or.reduce([step.unusual, *(finding.hit for finding in step.findings)])
    return found
