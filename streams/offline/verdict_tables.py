"""Verdicts of a whole panel: the anomalies in them as a list, and all of them as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors.alerts.alert import Alert
from detectors.alerts.anomaly_alert import KEEP_STEPS, AnomalyBook, Naming
from detectors.api.detector import SEVERITIES, Panel, SeriesName, Verdicts
from models.arrays import Mask
from models.logs.csv_cells import cell
from streams.publish.sinks.wire_alert import rfc3339

if TYPE_CHECKING:
    import pandas as pd


def anomalies_of(
    panel: Panel, verdicts: Verdicts, detector: str, source: str, by: Sequence[str]
) -> list[dict[str, Any]]:
    """Each anomaly once, in the order of time, with when it began and ended and what drove it."""
    book = AnomalyBook(Naming("Anomaly", detector, source, by))
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for step in np.flatnonzero(_worth_a_look(verdicts.alarm)).tolist():
        part = _rows(verdicts, step)
        for moved in book.step(panel.rows(step, step + 1), part, _its_series):
            alert = moved.alert
            key = (alert.fingerprint, alert.starts_at_ms)
            if alert.state == "firing":
                found[key] = _entry(alert)
            elif alert.ends_at_ms is not None:
                found[key]["to"] = rfc3339(alert.ends_at_ms)
    return list(found.values())


def _worth_a_look(alarm: Mask) -> Mask:
    """Steps with an alarm, and those after them that may end one: Mask [T]."""
    near: Mask = np.asarray(alarm.any(axis=1))
    for _ in range(KEEP_STEPS):
        near = near | np.append(np.False_, near[:-1])
    return near


def _rows(verdicts: Verdicts, step: int) -> Verdicts:
    columns = {name: getattr(verdicts, name)[step : step + 1] for name in Verdicts.__slots__}
    return replace(verdicts, **columns)


def _its_series(series: SeriesName) -> Mapping[str, Any]:
    """Labels would not tell: names that Alertmanager does not take, or that alerts have, are others there."""
    return {"series": list(series)}


def _entry(alert: Alert) -> dict[str, Any]:
    evidence = alert.evidence
    return {
        "from": rfc3339(alert.starts_at_ms),
        "to": None,
        "series": evidence["series"],
        "severity": alert.labels["severity"],
        "kind": evidence["kind"],
        "score": evidence["score"],
        "direction": evidence["direction"],
        "contributions": evidence["contributions"],
        "summary": alert.annotations["summary"],
    }


def verdict_table(panel: Panel, verdicts: Verdicts, by: Sequence[str]) -> pd.DataFrame:
    """A row for each step and series: time, series, score, alarm, severity, direction, kind, and by feature
    what was seen, expected and contributed."""
    import pandas as pd

    steps, series = len(panel), len(panel.series)
    columns: dict[str, Any] = {
        "time": np.repeat(pd.to_datetime(panel.times, unit="ms", utc=True), series),
        **{name: [each[at] for each in panel.series] * steps for at, name in enumerate(by)},
        "score": verdicts.score.ravel(),
        "alarm": verdicts.alarm.ravel(),
        "severity": [SEVERITIES[number] for number in verdicts.severity.ravel().tolist()],
        "direction": verdicts.direction.ravel(),
        "kind": verdicts.kind.ravel().astype(str),
    }
    for at, name in enumerate(panel.features):
        columns[name] = panel.values[:, :, at].ravel()
        columns[f"{name} expected"] = verdicts.expected[:, :, at].ravel()
        columns[f"{name} contribution"] = verdicts.contributions[:, :, at].ravel()
    return pd.DataFrame(columns)


def write_verdicts(panel: Panel, verdicts: Verdicts, by: Sequence[str], path: Path) -> None:
    """Write `verdict_table` as parquet, or as CSV under any other name. Raises OSError."""
    table = verdict_table(panel, verdicts, by)
    if path.suffix in (".parquet", ".pq"):
        table.to_parquet(path, index=False)
    else:
        texts = table.select_dtypes(["object", "string"])
        table[texts.columns] = texts.map(cell)
        table.rename(columns=cell).to_csv(path, index=False)
