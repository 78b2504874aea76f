"""What the live state is copied into at scrape time, so that a thread can write it out at leisure.

The event loop makes a snapshot: a few array copies, no text. Everything else (quantiles, ratios, labels,
text) happens from it elsewhere, while the state moves on. A worker that owns several partitions gives a
`RollupSnapshot` or `SloSnapshot` for each of them; each series is in one partition only.

Cost: S series x W windows x 8 bytes a counter; nothing is copied for each event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from detectors.feedback.labels import Precision
from detectors.slo.slo import Slo
from models.arrays import Counts, Numbers, Rows
from streams.plan.rollup import Rollup
from streams.publish.metrics.forecast_snapshot import ForecastSnapshot


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One event that stands for many.

    value : its duration in seconds, or 1 where none was measured
    error : it is one of the bad ones
    """

    trace_id: str
    value: float
    time_ms: int
    error: bool = False


@dataclass(frozen=True, slots=True)
class RollupSnapshot:
    """The series of a source's own rollup.

    labels     : S tuples, the values of `rollup.by`
    windows_ms : the windows along axis W
    counts     : Counts [W, S, C], measures in the rolling windows
    totals     : Counts [S, C], measures since ever
    sketches   : window_ms to (keys, counts), keys ascending, as `quantiles_of` takes them
    buckets    : Counts [S, B], events since ever with a duration of at most each bound of
                 `rollup.histogram`; None where no classic buckets are asked for
    sum_seconds: Numbers [S], durations since ever; None where they are not summed
    distinct   : (column, window_ms) to Numbers [S], estimated distinct values
    exemplars  : series to a recent event of it
    """

    rollup: Rollup
    labels: Sequence[tuple[str, ...]]
    windows_ms: tuple[int, ...]
    counts: Counts
    totals: Counts
    sketches: Mapping[int, tuple[Rows, Counts]] = field(default_factory=dict)
    buckets: Counts | None = None
    sum_seconds: Numbers | None = None
    distinct: Mapping[tuple[str, int], Numbers] = field(default_factory=dict)
    exemplars: Mapping[int, Exemplar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        series = len(self.labels)
        assert self.counts.shape[:2] == (len(self.windows_ms), series)
        assert len(self.totals) == series
        assert self.buckets is None or self.buckets.shape == (series, len(self.rollup.histogram))

    def total(self, measure: str) -> Counts:
        """A measure since ever : Counts [S]."""
        return self.totals[:, self.rollup.measure_index(measure)]


@dataclass(frozen=True, slots=True)
class SloSnapshot:
    """The groups of one SLO.

    labels                     : S tuples, the values of `slo.group_by`
    good, total                : Counts [W, S], rolling windows, maintenance left out
    budget_good, budget_total  : Counts [S], the SLO's window, or its calendar period so far
    covered_ms                 : how much of that window or period lies behind; None means all
    """

    slo: Slo
    labels: Sequence[tuple[str, ...]]
    windows_ms: tuple[int, ...]
    good: Counts
    total: Counts
    budget_good: Counts
    budget_total: Counts
    covered_ms: int | None = None

    def __post_init__(self) -> None:
        shape = (len(self.windows_ms), len(self.labels))
        assert self.good.shape == self.total.shape == shape
        assert self.budget_good.shape == self.budget_total.shape == shape[1:]


@dataclass(frozen=True, slots=True)
class SourceSnapshot:
    """How far a source has been read, and what became of its records.

    watermark_ms : by source partition, the event time below which nothing is awaited
    lag          : by source partition, records that are not read yet
    outcomes     : (outcome, reason) to events; reasons tell dead ones apart and are "" for the others
    decoder_errors : records at which the decoder failed
    folded       : events counted under `__other__` because there are too many series
    refused      : by reason, fetched batches that did not continue what had been read
    lost         : records that were deleted from the log before they were read
    """

    name: str
    watermark_ms: Mapping[int, int] = field(default_factory=dict)
    lag: Mapping[int, int] = field(default_factory=dict)
    outcomes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    decoder_errors: int = 0
    folded: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    lost: int = 0


@dataclass(frozen=True, slots=True)
class DetectorSnapshot:
    """What one detector has said of the series of a partition.

    by         : label columns
    series     : S names, those judged in the last step
    tail       : Numbers [S], see `detectors.api.detector.Verdicts`
    long_lived : its series stay; those of others, addresses say, are not worth a metric each
    anomalies  : (kind, severity) to anomalies that have begun
    seconds    : time it has taken
    shadow     : steps flagged by the model in charge, by the one on trial, and by both; None without a trial
    """

    source: str
    detector: str
    by: Sequence[str]
    series: Sequence[tuple[str, ...]]
    tail: Numbers
    long_lived: bool
    anomalies: Mapping[tuple[str, str], int]
    failures: int
    seconds: float
    shadow: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class WorkerSnapshot:
    """Everything that one worker publishes.

    forecasts  : of limited resources
    labels     : what people have said of each detector's anomalies
    models     : (model, role) to the version in it
    model_failures : (model, reason) to models that could not be used
    retrainings : (model, outcome) to checks whether it is outdated
    incidents  : severity to open incidents
    alerts     : (alertname, state) to live alerts
    deliveries : (sink, outcome) to alerts, from the sinks' own counters
    left_out   : topic to records that were too large for it
    """

    version: str
    sources: Sequence[SourceSnapshot] = ()
    rollups: Sequence[RollupSnapshot] = ()
    slos: Sequence[SloSnapshot] = ()
    detectors: Sequence[DetectorSnapshot] = ()
    forecasts: ForecastSnapshot = field(default_factory=ForecastSnapshot)
    labels: Mapping[str, Precision] = field(default_factory=dict)
    models: Mapping[tuple[str, str], str] = field(default_factory=dict)
    model_failures: Mapping[tuple[str, str], int] = field(default_factory=dict)
    retrainings: Mapping[tuple[str, str], int] = field(default_factory=dict)
    incidents: Mapping[str, int] = field(default_factory=dict)
    alerts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    deliveries: Mapping[tuple[str, str], int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
