"""What alerts about capacity say: summary, description, values and evidence. Times are UTC."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from detectors.capacity.reading import CapacityReading, Kind, finite

_SAID: Mapping[Kind, tuple[str, str, str]] = {
    "quota": ("Quota", "will be used up", "is used up"),
    "gauge": ("Capacity", "will reach its limit", "has reached its limit"),
    "lag": ("Lag", "will reach its limit", "has reached its limit"),
    "error_budget": ("Error budget", "will be spent", "is spent"),
}
"""By kind: what it is, what will become of it, what has."""


def warning_words(reading: CapacityReading, warn: float) -> dict[str, str]:
    """Annotations of QuotaWarning."""
    text = f"{_percent(reading.used_ratio)} of the quota {_name(reading)} is used"
    end = "" if reading.period is None else f" It resets at {_clock(reading.period[1])}."
    ahead = ""
    if math.isfinite(reading.forecast_ratio):
        ahead = (
            f" By then {_percent(reading.forecast_ratio)} will be used in the median, and more than all with "
            f"a probability of {_percent(reading.probability)}. {_accuracy(reading)}"
        )
    return {"summary": text, "description": f"The warning is set at {_percent(warn)}.{end}{ahead}"}


def exhaustion_words(reading: CapacityReading, at_ms: int) -> dict[str, str]:
    """Annotations of QuotaWillExhaust and CapacityExhaustion."""
    name, (what, will, has) = _name(reading), _SAID[reading.kind]
    if reading.kind == "lag" and not math.isfinite(reading.expected_seconds):
        within = _span(reading.horizon_ms / 1000)
        summary = f"{what} {name} does not catch up within {within} ({_percent(reading.probability)} sure)"
        return {"summary": summary, "description": _accuracy(reading)}
    if reading.expected_seconds == 0:
        summary = f"{what} {name} {has}"
        when = ""
    else:
        summary = (
            f"{what} {name} {will} in {_span(reading.expected_seconds)} "
            f"({_percent(reading.probability)} sure)"
        )
        low, high = reading.range_seconds
        when = (
            f"Expected at {_clock(at_ms + 1000 * reading.expected_seconds)}, in 90 of 100 such cases between "
            f"{_clock(at_ms + 1000 * low)} and {_clock(at_ms + 1000 * high)}. "
        )
    period = ""
    if reading.period is not None:
        period = (
            f"{_percent(reading.used_ratio)} is used so far, {_percent(reading.forecast_ratio)} by "
            f"{_clock(reading.period[1])} in the median, when it resets. "
        )
    return {"summary": summary, "description": f"{when}{period}{_accuracy(reading)}"}


def values(reading: CapacityReading) -> dict[str, float]:
    """What was measured; only what is known."""
    found = {
        "used_ratio": reading.used_ratio,
        "forecast_ratio": reading.forecast_ratio,
        "probability": reading.probability,
        "expected_seconds": reading.expected_seconds,
    }
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def evidence(reading: CapacityReading) -> dict[str, Any]:
    """The model, how good it was, and what was asked: JSON-able, None where something has no number."""
    found: dict[str, Any] = {
        "resource": reading.resource,
        "kind": reading.kind,
        "model": reading.model or None,
        "mase": finite(reading.mase),
        "coverage": {f"{level:g}": finite(share) for level, share in reading.coverage.items()},
        "horizon_seconds": reading.horizon_ms / 1000,
        "range_seconds": [finite(value) for value in reading.range_seconds],
        "exhaustion_seconds": {f"{q:g}": finite(value) for q, value in reading.exhaustion_seconds.items()},
    }
    if reading.period is not None:
        found["period_start_ms"], found["period_end_ms"] = reading.period
    return {**found, **reading.evidence}


def _accuracy(reading: CapacityReading) -> str:
    """How good the model was: what a person needs to believe it."""
    if not reading.model:
        return ""
    told = f"backtest MASE {reading.mase:.2f}" if math.isfinite(reading.mase) else "no backtest yet"
    held = "".join(
        f", its {level:.0%} interval covered {share:.0%} of the actual values"
        for level, share in _first(reading.coverage).items()
        if math.isfinite(share)
    )
    return f"Forecast by {reading.model}; {told}{held}."


def _first(coverage: Mapping[float, float]) -> Mapping[float, float]:
    level = min(coverage, default=None)
    return {} if level is None else {level: coverage[level]}


def _name(reading: CapacityReading) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in sorted(reading.labels.items()))
    return f"{reading.resource} ({labels})" if labels else reading.resource


def _percent(share: float) -> str:
    return f"{share:.0%}" if math.isfinite(share) else "an unknown share"


def _clock(at_ms: float) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return "a time beyond all calendars"


def _span(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "a time beyond the horizon"
    minutes = round(seconds / 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
