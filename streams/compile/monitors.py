"""The detectors that a configuration asks for, as the plan has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from streams.config.detectors import Judged, MultivariateEntry, TrafficEntry
from streams.config.models import Config
from streams.config.values import milliseconds
from streams.language.documents import Path
from streams.language.problems import Findings, one_of
from streams.plan.plan import MonitorPlan

SERVICE = "service"
"""Column that names the service where nothing else is said."""

ALERTNAMES = {"traffic": "TrafficAnomaly", "multivariate": "SignalAnomaly"}


def monitors_of(config: Config, findings: Findings) -> Iterator[MonitorPlan]:
    """Monitors over the sources' own series; mistakes go to `findings`."""
    seen: dict[tuple[str, str], int] = {}
    for detector, entries in (
        ("traffic", config.detectors.traffic),
        ("multivariate", config.detectors.multivariate),
    ):
        for index, entry in enumerate(entries):
            place: Path = ("detectors", detector, index)
            if not _fits(config, place, entry, findings):
                continue
            number = seen[detector, entry.source] = seen.get((detector, entry.source), 0) + 1
            yield MonitorPlan(
                name=f"{detector}:{entry.source}" + (f":{number}" if number > 1 else ""),
                source=entry.source,
                rollup=entry.source,
                detector=detector,
                alertname=ALERTNAMES[detector],
                settings=_settings(entry),
                step_ms=milliseconds(entry.step),
                kept_ms=milliseconds(entry.keep),
                service=_service(config, entry),
                model=entry.model or detector,
            )


def _settings(entry: Judged) -> Mapping[str, Any]:
    settings: dict[str, Any] = {"false_alarms_per_series_per_week": entry.false_alarms_per_series_per_week}
    if isinstance(entry, TrafficEntry):
        settings |= {
            "direction": entry.direction,
            "min_effect": entry.min_effect,
            "quiet": list(entry.quiet),
            "time_zone": entry.time_zone,
            "holidays": entry.holidays,
            "step_ms": milliseconds(entry.step),
        }
    assert isinstance(entry, TrafficEntry | MultivariateEntry)
    return settings


def _service(config: Config, entry: Judged) -> str | None:
    if entry.service is not None:
        return entry.service
    return SERVICE if SERVICE in config.sources[entry.source].series else None


def _fits(config: Config, place: Path, entry: Judged, findings: Findings) -> bool:
    """Whether the entry's source is there and has what it asks for."""
    source = config.sources.get(entry.source)
    if source is None:
        findings.problems.append(config.mistake((*place, "source"), one_of(sorted(config.sources))))
        return False
    if entry.service is not None and entry.service not in source.series:
        findings.problems.append(
            config.mistake((*place, "service"), one_of(source.series or ("a column of series",)))
        )
        return False
    if max(source.windows) < entry.step:
        expected = f"at most the longest of the windows of source {entry.source}"
        findings.problems.append(config.mistake((*place, "step"), expected))
        return False
    return True
