"""What an error-budget alert says: its labels, its words, and the counts behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from detectors.alerts.names import label_names, span_name
from detectors.slo.burn_rate import Verdicts
from detectors.slo.slo import Slo, Tier

ALERTNAME = "ErrorBudgetBurn"

_OWN_LABELS = ("alertname", "service", "slo", "objective", "severity")

_COUNTED = {"Occurrences": "events", "Timeslices": "slices", "RatioTimeslices": "slices"}


def burn_labels(slo: Slo, severity: str, group: Sequence[str]) -> dict[str, str]:
    """Labels of the alert: the SLO's identity, its group's labels, then those its file adds.

    An empty value means the same as no label, so it is left out. The SLO's own labels (`team`) come
    last and never replace the others.
    """
    labels = {
        "alertname": ALERTNAME,
        "service": slo.service,
        "slo": slo.name,
        "objective": slo.objective,
        "severity": severity,
        **dict(zip(label_names(slo.group_by, _OWN_LABELS), group, strict=True)),
    }
    for name, value in slo.labels.items():
        labels.setdefault(name, value)
    return {name: value for name, value in labels.items() if value}


def burn_values(verdicts: Verdicts, series: int) -> dict[str, float]:
    """Burn rates of one series by window; windows without traffic are left out."""
    rates = verdicts.burn[:, series].tolist()
    return {
        span_name(window): rate
        for window, rate in zip(verdicts.windows_ms, rates, strict=True)
        if not math.isnan(rate)
    }


def burn_evidence(slo: Slo, verdicts: Verdicts, series: int, severity: str) -> dict[str, Any]:
    """Counts of one series in all judged windows, and what each tier of the severity demands and finds."""
    good, total = verdicts.good[:, series].tolist(), verdicts.total[:, series].tolist()
    tiers = []
    for index, tier in enumerate(slo.tiers):
        if tier.severity != severity:
            continue
        lower = float(verdicts.lower[index, series])
        tiers.append(
            {
                "long": span_name(tier.long_ms),
                "short": span_name(tier.short_ms),
                "factor": tier.factor,
                "fires": bool(verdicts.firing[index, series]),
                "error_ratio_at_least": None if math.isnan(lower) else lower,
            }
        )
    return {
        "windows": {
            span_name(window): {"good": good[row], "total": total[row]}
            for row, window in enumerate(verdicts.windows_ms)
        },
        "tiers": tiers,
        "confidence": slo.confidence,
        "target": slo.target,
    }


def burn_annotations(slo: Slo, verdicts: Verdicts, series: int, severity: str) -> dict[str, str]:
    """Words for people about the tier that fires with the highest factor; the SLO's own words win."""
    tier = _leading_tier(slo, verdicts, series, severity)
    rate = burn_values(verdicts, series)
    long, short = span_name(tier.long_ms), span_name(tier.short_ms)
    row = verdicts.windows_ms.index(tier.long_ms)
    total = int(verdicts.total[row, series])
    bad_share = float(rate[long]) * (1.0 - slo.target)
    name = slo.display_name or (f"{slo.name}/{slo.objective}" if slo.objective else slo.name)
    counted = _COUNTED[slo.budgeting]
    return {
        "summary": f"{name} of {slo.service} burns its error budget {rate[long]:.3g} times too fast",
        "description": (
            f"{bad_share:.3g} of {total:,} {counted} were bad over {long} (burn rate {rate[long]:.3g}; over "
            f"{short} {rate[short]:.3g}), where the target {slo.target:.6g} allows {1.0 - slo.target:.3g}. "
            f"The whole budget of {span_name(slo.window_ms)} would last "
            f"{_rough_span(slo.window_ms / 1000.0 / rate[long])}."
        ),
        **{name: value for name, value in slo.annotations.items() if value},
    }


def _leading_tier(slo: Slo, verdicts: Verdicts, series: int, severity: str) -> Tier:
    firing: Mapping[int, Tier] = {
        index: tier
        for index, tier in enumerate(slo.tiers)
        if tier.severity == severity and verdicts.firing[index, series]
    }
    assert firing, "only an alert that fires needs words"
    return max(firing.values(), key=lambda tier: tier.factor)


def _rough_span(seconds: float) -> str:
    for unit, name in ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} seconds"
