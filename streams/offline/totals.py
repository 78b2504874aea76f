"""The totals of a replay, as `summary.json` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detectors.alerts.alert import Transition
from detectors.slo.slo import Slo
from streams.offline.flow import SeriesTotals, Summary
from streams.plan.plan import Plan

__all__ = ["summarize"]


def summarize(plan: Plan, summary: Summary, transitions: Sequence[Transition]) -> dict[str, Any]:
    """JSON-able totals.

    `events`, `late` and `dead` add up to what was read; `good` and `bad` are those of the first SLO that is
    called availability, else of the first SLO, else of the sources' own `error`. `series` has the same five
    per series of each source; what was late or dead has no series, so where a source has several, an entry
    with labels null holds it.
    """
    sources = {name: _source(summary, name) for name in plan.sources}
    totals = {key: sum(source[key] for source in sources.values()) for key in ("events", "late", "dead")}
    slos = [_slo(slo, summary.rollups[slo.rollup]) for slo in plan.slos if slo.rollup in summary.rollups]
    series = [entry for name in plan.sources for entry in _series(plan, summary, name)]
    judged = next((slo for slo in slos if "availability" in slo["slo"]), slos[0] if slos else None)
    good, bad = (
        (judged["good"], judged["bad"])
        if judged
        else (sum(entry["good"] for entry in series), sum(entry["bad"] for entry in series))
    )
    return {
        "events": totals["events"],
        "good": good,
        "bad": bad,
        "late": totals["late"],
        "dead": totals["dead"],
        "sources": sources,
        "slos": slos,
        "series": series,
        "alerts": {
            state: sum(transition.alert.state == state for transition in transitions)
            for state in ("firing", "resolved")
        },
    }


def _source(summary: Summary, name: str) -> dict[str, Any]:
    outcomes = summary.outcomes[name]
    return {
        "events": outcomes["in"],
        "late": outcomes["late"],
        "dead": outcomes["dead"],
        "rejected": dict(sorted(summary.reasons[name].items())),
    }


def _slo(slo: Slo, totals: SeriesTotals) -> dict[str, Any]:
    """Counts over all that was read, by group too; a ratio is null without events."""
    good_at, total_at = totals.measures.index("good"), totals.measures.index("total")
    good, total = totals.counts[:, good_at].tolist(), totals.counts[:, total_at].tolist()
    return {
        "slo": slo.name,
        "objective": slo.objective,
        "service": slo.service,
        "source": slo.source,
        "target": slo.target,
        **_ratio(sum(good), sum(total)),
        "series": [
            {"labels": dict(zip(slo.group_by, labels, strict=True)), **_ratio(one_good, one_total)}
            for labels, one_good, one_total in sorted(zip(totals.labels, good, total, strict=True))
        ],
    }


def _ratio(good: int, total: int) -> dict[str, Any]:
    return {"good": good, "bad": total - good, "total": total, "ratio": good / total if total else None}


def _series(plan: Plan, summary: Summary, source: str) -> list[dict[str, Any]]:
    rollup = next(rollup for rollup in plan.sources[source].rollups if rollup.kind == "requests")
    totals = summary.rollups[source]
    places = [totals.measures.index(name) for name in ("total", "errors")]
    rows = sorted(zip(totals.labels, totals.counts[:, places].tolist(), strict=True))
    entries: list[dict[str, Any]] = [
        _entry(source, dict(zip(rollup.by, labels, strict=True)), total, errors)
        for labels, (total, errors) in rows
    ]
    late, dead = summary.outcomes[source]["late"], summary.outcomes[source]["dead"]
    if late or dead:
        if rollup.by or not entries:
            entries.append(_entry(source, None, 0, 0))
        entries[-1] |= {"late": late, "dead": dead}
    return entries


def _entry(source: str, labels: Mapping[str, str] | None, total: int, errors: int) -> dict[str, Any]:
    return {
        "source": source,
        "labels": labels,
        "events": total,
        "good": total - errors,
        "bad": errors,
        "late": 0,
        "dead": 0,
    }
