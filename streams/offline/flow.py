"""The whole flow in one process, without Kafka: what a replay, a backtest and a notebook run.

The steps are the worker's own: decode, aggregate, window, judge. Only the transport between them is a
function call, so the same records give the same totals, SLIs and alerts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from detectors.alerts.alert import Transition
from models.arrays import Counts
from streams.aggregate.partition import PartitionAggregate, Rejected
from streams.decode.registry import make_decoder
from streams.events.batch import Records
from streams.judge.judged_source import JudgedSource
from streams.judge.sealing import completed, seal_final
from streams.judge.slo_judge import SliReport
from streams.partials.frame import decode_frame
from streams.partials.series import SeriesIndexes
from streams.plan.plan import BUCKET_MS, Plan
from streams.window.blocks import Block


@dataclass(frozen=True, slots=True)
class SeriesTotals:
    """All that was counted of one rollup since the beginning.

    labels   : S tuples in the order of the rollup's `by`
    measures : names of the C counters
    counts   : Counts [S, C]
    """

    labels: Sequence[tuple[str, ...]]
    measures: tuple[str, ...]
    counts: Counts


@dataclass(frozen=True, slots=True)
class Summary:
    """What a replay counted.

    outcomes : per source how many events were counted `in`, `late` and `dead`
    reasons  : per source how many by reason of rejection
    rollups  : totals of every series of every rollup
    """

    outcomes: Mapping[str, Mapping[str, int]]
    reasons: Mapping[str, Mapping[str, int]]
    rollups: Mapping[str, SeriesTotals]
    reports: Sequence[SliReport] = field(default=())


def _ignore(_: object) -> None:
    pass


class LocalFlow:
    """Feed records, get SLIs and alerts.

    partitions : partitions that each source has; buckets are sealed as soon as all of them have passed.
                 None where they are not known before the end: then nothing is sealed until `finish`
    on_slis    : called once a minute of event time and SLO
    on_alert   : called when an alert of an SLO changes its state
    on_anomaly : called when an anomaly begins or ends, whatever its severity
    """

    def __init__(
        self,
        plan: Plan,
        *,
        partitions: int | None = 1,
        on_slis: Callable[[SliReport], None] = _ignore,
        on_alert: Callable[[Transition], None] = _ignore,
        on_anomaly: Callable[[Transition], None] = _ignore,
        evidence: Mapping[str, str] | None = None,
    ) -> None:
        self._plan = plan
        self._partitions = partitions
        self._on_slis = on_slis
        self._on_alert = on_alert
        self._on_anomaly = on_anomaly
        self._aggregates: dict[tuple[str, int], PartitionAggregate] = {}
        self._indexes = SeriesIndexes()
        self._windows = {
            name: JudgedSource(source, plan.slos, partitions or 1, evidence or {}, plan.monitors)
            for name, source in plan.sources.items()
        }
        self._told_ms: dict[str, int] = {}
        self._reasons: dict[str, Counter[str]] = {name: Counter() for name in plan.sources}

    def window(self, source: str) -> JudgedSource:
        """The live windows of a source, for a notebook to look into."""
        return self._windows[source]

    def feed(self, source: str, partition: int, records: Records) -> list[Rejected]:
        """Count records, which follow those fed before for this partition.

        Returns what could not be counted where it belongs.
        Raises KeyError for a source that the plan does not have.
        """
        aggregate = self._aggregates.get((source, partition))
        if aggregate is None:
            spec = self._plan.sources[source]
            start = int(records.offsets[0]) if len(records) else 0
            decoder = partial(make_decoder, spec.format, spec.layout)
            aggregate = self._aggregates[source, partition] = PartitionAggregate(
                spec, partition, start, decoder, self._indexes
            )
        if not len(records):
            return []
        rejected = aggregate.read(records, int(records.offsets[-1]) + 1)
        self._reasons[source].update(entry.reason for entry in rejected)
        self._pass_on(aggregate)
        if self._partitions is not None:
            self._seal(source, self._windows[source].final_below())
        return rejected

    def finish(self) -> Summary:
        """Seal all that is open and give the totals."""
        for aggregate in self._aggregates.values():
            self._pass_on(aggregate)
        reports: list[SliReport] = []
        for name, window in self._windows.items():
            end = window.live_end()
            if end is not None:
                self._seal(name, end)
                reports += window.slo_judge.reports(end * BUCKET_MS)
        for report in reports:
            if self._told_ms.get(report.slo.source) != report.at_ms:  # the last minute may be told already
                self._on_slis(report)
        return self._summary(reports)

    def _pass_on(self, aggregate: PartitionAggregate) -> None:
        flushed = aggregate.flush(1)
        if flushed is None:
            return
        window = self._windows[aggregate.plan.name]
        for offset, (_, value) in enumerate(flushed.frames):
            window.accept(decode_frame(value), offset)
        aggregate.acknowledge()

    def _seal(self, source: str, below: int) -> None:
        completed(seal_final(self._windows[source], below, self))

    async def announce(self, transitions: Sequence[Transition]) -> None:
        """See `Receiver`."""
        for transition in transitions:
            self._on_alert(transition)

    async def announce_anomalies(self, anomalies: Sequence[Transition]) -> None:
        """See `Receiver`."""
        for transition in anomalies:
            self._on_anomaly(transition)

    async def report(self, report: SliReport) -> None:
        """See `Receiver`."""
        self._told_ms[report.slo.source] = report.at_ms
        self._on_slis(report)

    async def store(self, blocks: Sequence[Block]) -> bool:
        """See `Receiver`; nothing restarts here, so there is nothing to store."""
        return True

    async def stored(self) -> None:
        """See `Receiver`."""

    def _summary(self, reports: Sequence[SliReport]) -> Summary:
        outcomes: dict[str, dict[str, int]] = {}
        rollups: dict[str, SeriesTotals] = {}
        for name, window in self._windows.items():
            counted = {"in": 0, "late": 0, "dead": 0}
            for rollup_name, rollup in window.rollups.items():
                totals = rollup.live_totals()
                if rollup.rollup.kind == "outcomes":
                    for labels, row in zip(rollup.table.labels, totals, strict=True):
                        counted[labels[0]] += int(row[rollup.rollup.measure_index("total")])
                else:
                    measures = rollup.rollup.measure_names
                    counts: Counts = np.ascontiguousarray(totals[:, : len(measures)])
                    rollups[rollup_name] = SeriesTotals(rollup.table.labels, measures, counts)
            # dead records that no event ever followed belong to no bucket
            counted["dead"] += sum(
                aggregate.deferred_count
                for (source, _), aggregate in self._aggregates.items()
                if source == name
            )
            outcomes[name] = counted
        return Summary(outcomes, {k: dict(v) for k, v in self._reasons.items()}, rollups, reports)
