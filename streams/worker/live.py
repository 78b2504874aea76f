"""The live state of a worker as a snapshot: a few array copies in the event loop, no text.

Each worker shows the series of the partitions that it owns at this moment, so that no series outlives a
rebalance and no two workers show the same one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from models.arrays import Counts
from streams.judge.judged_source import JudgedSource
from streams.judge.maintenance import period_counts, without_maintenance
from streams.partials.cells import Keys
from streams.partials.series import encode_labels, series_hash
from streams.plan.outcomes import outcomes_name
from streams.plan.plan import BUCKET_MS, NEVER
from streams.plan.rollup import MICRO, SECONDS, within
from streams.publish.metrics.snapshot import (
    DetectorSnapshot,
    Exemplar,
    RollupSnapshot,
    SloSnapshot,
    SourceSnapshot,
)
from streams.window.rollup_window import SKETCH_WINDOW_MS_MAX
from streams.window.sketches import merged_sketch
from streams.worker.aggregate_stage import AggregateStage


@dataclass(frozen=True, slots=True)
class LiveRollup:
    """A rollup's copied counts, and its sketches still unmerged: `finished` may run in a thread."""

    counts: RollupSnapshot
    sketch_parts: Mapping[int, list[tuple[Keys, Counts]]]

    def finished(self) -> RollupSnapshot:
        merged = {window: merged_sketch(parts) for window, parts in self.sketch_parts.items()}
        return replace(self.counts, sketches=merged)


def live_rollups(window: JudgedSource) -> Iterator[LiveRollup]:
    """The source's own series in one partition of the partials."""
    end = window.live_end()
    rollup_window = next((w for w in window.rollups.values() if w.rollup.kind == "requests"), None)
    if end is None or rollup_window is None or rollup_window.series_count == 0:
        return
    rollup = rollup_window.rollup
    short = [w for w in rollup.windows_ms if w <= SKETCH_WINDOW_MS_MAX]
    totals = rollup_window.live_totals()
    bounds = [rollup.measure_index(within(bound)) for bound in rollup.histogram]
    counts = RollupSnapshot(
        rollup=rollup,
        labels=rollup_window.table.labels[: rollup_window.series_count],
        windows_ms=rollup.windows_ms,
        counts=rollup_window.live_sums(end),
        totals=totals,
        buckets=totals[:, bounds] if bounds else None,
        sum_seconds=totals[:, rollup.measure_index(SECONDS)] / MICRO if bounds else None,
        distinct={
            (column, w): rollup_window.distinct_counts(position, w, end)
            for position, column in enumerate(rollup.distinct)
            for w in short
        },
        exemplars={
            series: Exemplar(row.trace_id, row.value, row.time_ms, row.error)
            for series, row in rollup_window.exemplars.items()
        },
    )
    yield LiveRollup(counts, {w: rollup_window.sketch_parts(w, end) for w in short if rollup.sketch})


def slo_snapshots(window: JudgedSource) -> Iterator[SloSnapshot]:
    """The groups of the source's SLOs in one partition of the partials, open buckets included."""
    end = window.live_end()
    if end is None:
        return
    for slo in window.slo_judge.slos:
        rollup_window = window.rollups[slo.rollup]
        if rollup_window.series_count == 0:
            continue
        sums = rollup_window.live_sums(end)
        first, second = rollup_window.budget_columns
        good, total = without_maintenance(
            rollup_window, slo, end * BUCKET_MS, sums[:, :, first], sums[:, :, second]
        )
        covered_ms = None
        if slo.calendar is None:
            row = rollup_window.rollup.windows_ms.index(slo.window_ms)
            budget_good, budget_total = good[row], total[row]
        else:
            start, _ = slo.calendar.bounds((end - 1) * BUCKET_MS)
            covered_ms = end * BUCKET_MS - start
            budget_good, budget_total = period_counts(rollup_window, slo, end * BUCKET_MS)
        yield SloSnapshot(
            slo=slo,
            labels=rollup_window.table.labels[: rollup_window.series_count],
            windows_ms=rollup_window.rollup.windows_ms,
            good=good,
            total=total,
            budget_good=budget_good,
            budget_total=budget_total,
            covered_ms=covered_ms,
        )


def detector_snapshots(window: JudgedSource) -> Iterator[DetectorSnapshot]:
    """What the detectors of the source have said in one partition of the partials."""
    for monitor in window.monitors.running:
        yield DetectorSnapshot(
            source=monitor.plan.source,
            detector=monitor.plan.detector,
            by=window.rollups[monitor.plan.rollup].rollup.by,
            series=monitor.series,
            tail=monitor.tail,
            long_lived=monitor.plan.kept_ms > 0,
            anomalies=monitor.anomalies.copy(),
            failures=monitor.failures,
            seconds=monitor.seconds,
            shadow=monitor.on_trial(),
        )


def source_snapshots(
    stage: AggregateStage,
    windows: Mapping[int, Mapping[str, JudgedSource]],
    dead_reasons: Mapping[str, Sequence[str]],
) -> Iterator[SourceSnapshot]:
    """How far this worker has read its source partitions, and the outcomes whose counts it owns.

    dead_reasons : by source the reasons that are counted from the start
    """
    names = {name for by_source in windows.values() for name in by_source}
    aggregates = stage.owned()
    names |= {aggregate.plan.name for aggregate in aggregates}
    for name in sorted(names):
        mine = [aggregate for aggregate in aggregates if aggregate.plan.name == name]
        outcomes = _first_outcomes(name, dead_reasons[name], windows.keys(), stage.destinations)
        for by_source in windows.values():
            rollup_window = by_source[name].rollups[outcomes_name(name)]
            totals = rollup_window.live_totals()[:, rollup_window.rollup.measure_index("total")]
            for (outcome, reason), total in zip(rollup_window.table.labels, totals.tolist(), strict=True):
                outcomes[outcome, reason] += total
        yield SourceSnapshot(
            name=name,
            watermark_ms={
                a.partition: a.newest_ms - a.plan.lateness_ms for a in mine if a.newest_ms != NEVER
            },
            lag={a.partition: lag for a in mine if (lag := stage.lag(a)) is not None},
            outcomes=outcomes,
            decoder_errors=sum(aggregate.decoder_error_count for aggregate in mine),
            folded=sum(sum(aggregate.folded_counts.values()) for aggregate in mine),
            refused={reason: stage.counts[name, reason] for reason in ("gap", "repeat", "stall")},
            lost=stage.counts[name, "lost"],
        )


def _first_outcomes(
    source: str, reasons: Sequence[str], owned: Collection[int], destinations: int
) -> Counter[tuple[str, str]]:
    """A zero for each outcome before its first event, so that a rate sees that one.

    Only from the worker that will own the count: at another it would turn into all that was ever counted as
    soon as the partition came over, which a rate would take for new events.
    """
    rollup = outcomes_name(source)
    known = [("in", ""), ("late", ""), *(("dead", reason) for reason in reasons)]
    return Counter(
        {
            labels: 0
            for labels in known
            if destinations and series_hash(rollup, encode_labels(labels)) % destinations in owned
        }
    )
