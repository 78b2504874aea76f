"""Outcomes of a source's records, counted like everything else: in, late and dead."""

from __future__ import annotations

from streams.plan.rollup import Count, Rollup

OUTCOMES = "outcomes"
"""Prefix of the rollup that counts the outcomes of a source's records: in, late, dead."""


def outcomes_name(source: str) -> str:
    """Name of the rollup with the outcomes of a source."""
    return f"{OUTCOMES}:{source}"


def outcomes_rollup(source: str) -> Rollup:
    """The rollup that every source feeds besides its own: events by outcome and reason."""
    return Rollup(
        name=outcomes_name(source),
        kind="outcomes",
        source=source,
        by=("outcome", "reason"),
        measures=(Count("total"),),
        windows_ms=(300_000,),
    )
