"""Metrics of detectors: what they say of each series, what they have flagged, and what they cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from detectors.alerts.names import label_names
from detectors.feedback.labels import VERDICTS, Precision
from streams.publish.metrics.family import Block, Family, LabelRows, block_of
from streams.publish.metrics.snapshot import DetectorSnapshot

_OWN_LABELS = ("source", "detector")


def detector_families(snapshots: Sequence[DetectorSnapshot]) -> Iterator[Family]:
    """The families of all detectors; a detector has a snapshot for each partition."""
    yield Family(
        "streamgauge_anomaly_score",
        "gauge",
        "How odd the last step of a series was: 0.999 is as odd as one normal step of a thousand.",
        [Block(_labels(each), 1.0 - each.tail) for each in snapshots if each.long_lived],
    )
    anomalies: Counter[tuple[str, ...]] = Counter()
    failures: Counter[tuple[str, ...]] = Counter()
    seconds: defaultdict[tuple[str, ...], float] = defaultdict(float)
    judged: Counter[tuple[str, ...]] = Counter()
    for each in snapshots:
        key = (each.source, each.detector)
        for (kind, severity), count in each.anomalies.items():
            anomalies[*key, kind, severity] += count
        failures[key] += each.failures
        judged[key] += len(each.series)
        seconds[key] += each.seconds
    yield Family(
        "streamgauge_anomalies",
        "counter",
        "Anomalies that have begun.",
        [block_of(anomalies.items(), (*_OWN_LABELS, "kind", "severity"), "_total")],
    )
    yield Family(
        "streamgauge_detector_series",
        "gauge",
        "Series that a detector judged in its last step.",
        [block_of(judged.items(), _OWN_LABELS)],
    )
    yield Family(
        "streamgauge_detector_failures",
        "counter",
        "Failures of a detector; it is left out afterwards; nothing else is affected.",
        [block_of(failures.items(), _OWN_LABELS, "_total")],
    )
    yield Family(
        "streamgauge_detector_seconds",
        "counter",
        "Time that a detector has taken.",
        [block_of(seconds.items(), _OWN_LABELS, "_total")],
    )


def model_families(
    detectors: Sequence[DetectorSnapshot],
    models: Mapping[tuple[str, str], str],
    failures: Mapping[tuple[str, str], int],
    retrainings: Mapping[tuple[str, str], int],
) -> Iterator[Family]:
    """Trained models: which are in use, what was wrong with others, and how those on trial differ."""
    yield Family(
        "streamgauge_model",
        "info",
        "Version of a trained model in its role; without one a detector uses what it learns itself.",
        [
            block_of(
                [((*key, version), 1) for key, version in models.items()],
                ("model", "role", "version"),
                "_info",
            )
        ],
    )
    yield Family(
        "streamgauge_model_failures",
        "counter",
        "Models that could not be used; the previous one stays in use.",
        [block_of(failures.items(), ("model", "reason"), "_total")],
    )
    yield Family(
        "streamgauge_retraining",
        "counter",
        "Daily checks whether a model is outdated, by outcome.",
        [block_of(retrainings.items(), ("model", "outcome"), "_total")],
    )
    flagged: Counter[tuple[str, ...]] = Counter()
    for each in detectors:
        if each.shadow is not None:
            for by, count in zip(("champion", "shadow", "both"), each.shadow, strict=True):
                flagged[each.source, each.detector, by] += count
    yield Family(
        "streamgauge_shadow_alarms",
        "gauge",
        "Steps flagged since a model's trial began, by whom.",
        [block_of(flagged.items(), (*_OWN_LABELS, "by"))],
    )


def label_families(labels: Mapping[str, Precision]) -> Iterator[Family]:
    """What people have said of detectors' anomalies; every worker knows all of it."""
    counts = {
        (detector, verdict): getattr(precision, verdict)
        for detector, precision in labels.items()
        for verdict in VERDICTS
    }
    yield Family(
        "streamgauge_anomaly_labels",
        "gauge",
        "Labels of anomalies that hold, by what people said.",
        [block_of(counts.items(), ("detector", "verdict"))],
    )
    ratios = {(detector,): each.ratio for detector, each in labels.items() if each.ratio is not None}
    yield Family(
        "streamgauge_detector_precision_ratio",
        "gauge",
        "Share of a detector's labelled anomalies that were real, noise being the others.",
        [block_of(ratios.items(), ("detector",))],
    )


def _labels(snapshot: DetectorSnapshot) -> LabelRows:
    names = label_names(snapshot.by, _OWN_LABELS)
    common = [("source", snapshot.source), ("detector", snapshot.detector)]
    return LabelRows(names, snapshot.series, common)
