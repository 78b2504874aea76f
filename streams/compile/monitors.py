"""The detectors that a configuration asks for, as the plan has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from detectors.api.registry import plain_name
from streams.config.detectors import CustomEntry, Judged
from streams.config.models import Config
from streams.config.values import milliseconds
from streams.language.problems import Findings, one_of
from streams.language.yaml.documents import Path
from streams.plan.monitor import monitor_plan
from streams.plan.plan import MonitorPlan

SERVICE = "service"
"""Column that names the service where nothing else is said."""

TOLD_THE_STEP = ("traffic",)
"""Detectors that ship and take the length of a step; others tell it from the times."""


def monitors_of(config: Config, findings: Findings) -> Iterator[MonitorPlan]:
    """Monitors over the sources' own series; mistakes go to `findings`."""
    seen: dict[tuple[str, str], int] = {}
    asked = config.detectors
    lists: dict[str, tuple[Judged, ...]] = {
        "traffic": asked.traffic,
        "multivariate": asked.multivariate,
        "custom": asked.custom,
    }
    for key, entries in lists.items():
        for index, entry in enumerate(entries):
            path: Path = ("detectors", key, index)
            if not _fits(config, path, entry, findings):
                continue
            detector = entry.name if isinstance(entry, CustomEntry) else key
            settings = _settings(detector, entry, config, path, findings)
            if settings is None:
                continue
            number = seen[detector, entry.source] = seen.get((detector, entry.source), 0) + 1
            yield monitor_plan(
                detector,
                f"{detector}:{entry.source}" + (f":{number}" if number > 1 else ""),
                entry.source,
                entry.source,
                settings,
                step_ms=milliseconds(entry.step),
                kept_ms=milliseconds(entry.keep),
                service=_service(config, entry),
                model=entry.model or plain_name(detector),
            )


def _settings(
    detector: str, entry: Judged, config: Config, path: Path, findings: Findings
) -> Mapping[str, Any] | None:
    """What the detector is made with; None where that cannot be."""
    if isinstance(entry, CustomEntry):
        # only here, since it loads the class: without such an entry no detector is imported for a plan
        from streams.compile.detector_settings import custom_settings

        return custom_settings(entry, config, path, findings)
    own = {name: getattr(entry, name) for name in type(entry).model_fields if name not in Judged.model_fields}
    settings = {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}
    if detector in TOLD_THE_STEP:
        settings["step_ms"] = milliseconds(entry.step)
    return {"false_alarms_per_series_per_week": entry.false_alarms_per_series_per_week, **settings}


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
