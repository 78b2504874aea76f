"""One source in one partition of the partials: its windows, and what SLOs and detectors say of them.

A sealed bucket is taken into the windows, judged at its end, and stored with what was judged. In a long
silence only some buckets are sealed, as soon as no alert is live and no window can change a verdict any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detectors.alerts.alert import Alert, Transition
from detectors.api.detector import SeriesName
from detectors.slo.slo import Slo
from streams.judge.monitors import Monitors
from streams.judge.slo_judge import SliReport, SloJudge
from streams.partials.series import encode_labels, series_hash
from streams.plan.plan import BUCKET_MS, MonitorPlan, SourcePlan
from streams.window.blocks import Block
from streams.window.source_window import SourceWindow

SLI_EVERY_BUCKETS = 6
"""SLIs are reported once a minute of event time."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one sealed bucket gives: alerts and anomalies to announce, blocks to store, SLIs to report."""

    bucket: int
    transitions: Sequence[Transition]
    anomalies: Sequence[Transition]
    blocks: Sequence[Block]
    slis: Sequence[SliReport]


class JudgedSource(SourceWindow):
    """The windows of a source with the SLOs and detectors that judge them.

    evidence : what every alert carries beside its counts (hash of the configuration)
    monitors : detectors, of which those of this source are taken
    """

    def __init__(
        self,
        plan: SourcePlan,
        slos: Sequence[Slo],
        partitions: int,
        evidence: Mapping[str, str],
        monitors: Sequence[MonitorPlan] = (),
    ) -> None:
        mine = [slo for slo in slos if slo.source == plan.name]
        super().__init__(plan, mine, partitions)
        self._evidence = dict(evidence)
        self.slo_judge = SloJudge(mine, self.rollups, self._alert_evidence)
        watching = [monitor for monitor in monitors if monitor.source == plan.name]
        self.monitors = Monitors(plan.name, watching, self.rollups, self._anomaly_evidence)

    def load(self, blocks: Sequence[Block]) -> int | None:
        """Fill windows, alerts and detectors from stored blocks, see `SourceWindow.load`."""
        latest = super().load(blocks)
        if latest is not None:
            for block in blocks:
                if block.level == 0 and block.slot == latest:
                    self.slo_judge.load(block.state, (latest + 1) * BUCKET_MS)
            self.monitors.load(blocks, latest)
        return latest

    def seal(self, below: int) -> Iterator[Sealed]:
        """Seal all buckets below `below`, one at a time; call `confirm` once their blocks are durable."""
        for bucket in self.buckets_to_seal(below, self.slo_judge.quiet_buckets):
            yield self._seal_one(bucket)

    def _seal_one(self, bucket: int) -> Sealed:
        rows = self.seal_bucket(bucket)
        at_ms = (bucket + 1) * BUCKET_MS
        anomalies, learnt = self.monitors.step(bucket)
        transitions, moved = self.slo_judge.step(at_ms)
        blocks = self.blocks_of(rows, learnt, self.slo_judge.state, moved=moved)
        slis = self.slo_judge.reports(at_ms) if (bucket + 1) % SLI_EVERY_BUCKETS == 0 else []
        return Sealed(bucket, transitions, anomalies, blocks, slis)

    def active_alerts(self) -> list[Alert]:
        """The live alerts of SLOs and detectors."""
        return [*self.slo_judge.book.active(), *self.monitors.active()]

    def _alert_evidence(self) -> dict[str, Any]:
        offsets = {str(partition): offset for partition, offset in sorted(self.offsets.items())}
        return {**self._evidence, "offsets": offsets}

    def _anomaly_evidence(self, monitor: MonitorPlan, series: SeriesName) -> dict[str, Any]:
        """Where the events of a series are, and one of them, if any was traced."""
        window = self.rollups[monitor.rollup]
        evidence = self._alert_evidence()
        number = window.table.number(series_hash(monitor.rollup, encode_labels(series)))
        exemplar = None if number is None else window.exemplars.get(number)
        if exemplar is not None:
            evidence["trace_ids"] = [exemplar.trace_id]
        return evidence
