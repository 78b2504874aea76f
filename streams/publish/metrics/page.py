"""The metrics of a worker, read from a snapshot of its live state.

`families` says what is published; `collect` gives it as objects of the Prometheus client library, for
those who register a collector, and `render` as text, many times faster. Both hold the same samples.

A ratio without traffic, a quantile without values and a budget without events have no sample rather than
NaN: a rule that compares them sees nothing, not something false.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from prometheus_client import ProcessCollector
from prometheus_client.core import Exemplar as ClientExemplar
from prometheus_client.core import Metric

from detectors.api.detector import SEVERITIES
from streams.publish.metrics.detector_families import detector_families, label_families, model_families
from streams.publish.metrics.exposition import chosen_format, written
from streams.publish.metrics.family import EXEMPLAR_LENGTH_MAX, Block, Family, Kind, block_of
from streams.publish.metrics.forecast_families import forecast_families
from streams.publish.metrics.rollup_families import rollup_families
from streams.publish.metrics.slo_families import slo_families
from streams.publish.metrics.snapshot import WorkerSnapshot

Labels = TypeVar("Labels", bound=tuple[str, ...])

_PROCESS = ProcessCollector(registry=None)

ALERTS = ("ErrorBudgetBurn", "TelemetryMissing")
"""Counted even where there is none, so that a rule can tell no alert from no worker."""


def render(snapshot: WorkerSnapshot, accept: str = "") -> tuple[bytes, str]:
    """A page of metrics and its content type, in the format that the `Accept` header asks for."""
    content_type = chosen_format(accept)
    return written(families(snapshot), content_type), content_type


def collect(snapshot: WorkerSnapshot) -> Iterator[Metric]:
    """The same as the client library's objects, for a collector registered with it."""
    for family in families(snapshot):
        metric = Metric(family.name, family.documentation, family.kind)
        for blocks in family.together():
            for row, labels in enumerate(blocks[0].labels.dicts()):
                for block in blocks:
                    value = block.values[row].item()
                    if value == value:  # not NaN
                        metric.add_sample(
                            family.name + block.suffix,
                            {**labels, **dict(block.extra)},
                            value,
                            exemplar=_client_exemplar(block, row),
                        )
        if metric.samples:
            yield metric


def families(snapshot: WorkerSnapshot) -> Iterator[Family]:
    """Everything that a worker publishes, in a fixed order."""
    yield from source_families(snapshot)
    yield from rollup_families(snapshot.rollups)
    yield from slo_families(snapshot.slos)
    yield from detector_families(snapshot.detectors)
    yield from model_families(
        snapshot.detectors, snapshot.models, snapshot.model_failures, snapshot.retrainings
    )
    yield from label_families(snapshot.labels)
    yield from forecast_families(snapshot.forecasts)
    incidents: dict[tuple[str, ...], int] = {(name,): 0 for name in SEVERITIES[1:]}
    incidents |= {(severity,): count for severity, count in snapshot.incidents.items()}
    yield _gauge("streamgauge_incidents", "Open incidents by their worst severity.", incidents, ("severity",))
    alerts = {(name, "firing"): 0 for name in ALERTS} | dict(snapshot.alerts)
    yield _gauge("streamgauge_alerts", "Live alerts by state.", alerts, ("alertname", "state"))
    yield _counter(
        "streamgauge_alert_deliveries",
        "Alerts handed to a sink, by what became of them.",
        snapshot.deliveries,
        ("sink", "outcome"),
    )
    yield _counter(
        "streamgauge_left_out_records",
        "Records for a topic that were left out because they were too large.",
        {(topic,): count for topic, count in snapshot.left_out.items()},
        ("topic",),
    )
    yield Family(
        "streamgauge_build",
        "info",
        "Version of this worker.",
        [block_of([((snapshot.version,), 1)], ("version",), "_info")],
    )
    yield from _process_families()


def source_families(snapshot: WorkerSnapshot) -> Iterator[Family]:
    """How far each source is read and what became of its records."""
    sources = snapshot.sources
    events: Counter[tuple[str, ...]] = Counter()
    dead: Counter[tuple[str, ...]] = Counter()
    for source in sources:
        for (outcome, reason), count in source.outcomes.items():
            events[source.name, outcome] += count
            if outcome == "dead":
                dead[source.name, reason] += count
    late = {key[:1]: count for key, count in events.items() if key[1] == "late"}
    yield _counter(
        "streamgauge_events", "Events read, by what became of them.", events, ("source", "outcome")
    )
    yield _counter(
        "streamgauge_late_events", "Events that came after their bucket was final.", late, ("source",)
    )
    yield _counter(
        "streamgauge_dead_letters", "Records and events not decoded, by reason.", dead, ("source", "reason")
    )
    yield _counter(
        "streamgauge_decoder_errors",
        "Records at which the decoder failed; each is a dead letter.",
        {(source.name,): source.decoder_errors for source in sources},
        ("source",),
    )
    yield _counter(
        "streamgauge_folded_events",
        "Events counted under __other__ because there are too many series.",
        {(source.name,): source.folded for source in sources},
        ("source",),
    )
    yield _counter(
        "streamgauge_lost_records",
        "Records that were deleted from the log before they were read.",
        {(source.name,): source.lost for source in sources},
        ("source",),
    )
    yield _counter(
        "streamgauge_refused_batches",
        "Fetched batches that did not continue what had been read; those after a gap are read again.",
        {(source.name, reason): count for source in sources for reason, count in source.refused.items()},
        ("source", "reason"),
    )
    yield _gauge(
        "streamgauge_watermark_seconds",
        "Event time below which a partition is complete, since 1970.",
        {
            (source.name, str(partition)): time_ms / 1000.0
            for source in sources
            for partition, time_ms in source.watermark_ms.items()
        },
        ("source", "partition"),
    )
    yield _gauge(
        "streamgauge_consumer_lag_records",
        "Records of a partition that are not read yet.",
        {(source.name, str(partition)): lag for source in sources for partition, lag in source.lag.items()},
        ("source", "partition"),
    )
    series: Counter[tuple[str, ...]] = Counter()
    for rollup in snapshot.rollups:
        series[rollup.rollup.source, rollup.rollup.name] += len(rollup.labels)
    for slo in snapshot.slos:
        series[slo.slo.source, slo.slo.rollup] += len(slo.labels)
    yield _gauge("streamgauge_series", "Series held, by table.", series, ("source", "rollup"))


def _gauge(name: str, text: str, values: Mapping[Labels, float], labels: tuple[str, ...]) -> Family:
    return Family(name, "gauge", text, [block_of(values.items(), labels)])


def _counter(name: str, text: str, values: Mapping[Labels, float], labels: Sequence[str]) -> Family:
    return Family(name, "counter", text, [block_of(values.items(), labels, "_total")])


def _process_families() -> Iterator[Family]:
    """CPU, memory and open files of this process, where the system tells them."""
    for metric in _PROCESS.collect():
        kind: Kind = "counter" if metric.type == "counter" else "gauge"
        blocks = [
            block_of([((), sample.value)], (), sample.name.removeprefix(metric.name))
            for sample in metric.samples
        ]
        yield Family(metric.name, kind, metric.documentation, blocks)


def _client_exemplar(block: Block, row: int) -> ClientExemplar | None:
    exemplar = block.exemplars.get(row)
    if exemplar is None or len("trace_id") + len(exemplar.trace_id) > EXEMPLAR_LENGTH_MAX:
        return None
    return ClientExemplar({"trace_id": exemplar.trace_id}, exemplar.value, exemplar.time_ms / 1000.0)
