"""What a flow reports, as pandas DataFrames for notebooks.

Guarantee: the columns of `sli_table` are those of `slis.parquet`, with the same values, so an analysis that
was made on one runs on the other. Tables without rows have their columns too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from detectors.alerts.alert import Transition
from streams.judge.slo_judge import SliReport
from streams.offline.slis import SCHEMA, report_table

__all__ = [
    "EPISODE_COLUMNS",
    "EVIDENCE_COLUMNS",
    "TRANSITION_COLUMNS",
    "episode_table",
    "evidence_table",
    "sli_table",
    "transition_table",
]

TRANSITION_COLUMNS = (
    "time",
    "slo",
    "objective",
    "severity",
    "alertname",
    "service",
    "labels",
    "previous",
    "state",
    "starts_at",
    "ends_at",
    "summary",
    "description",
    "fingerprint",
)

EPISODE_COLUMNS = (
    "slo",
    "objective",
    "severity",
    "labels",
    "fired_at",
    "resolved_at",
    "summary",
    "fingerprint",
    "starts_at",
)

EVIDENCE_COLUMNS = (
    "tier",
    "factor",
    "burn_long",
    "burn_short",
    "bad_long",
    "total_long",
    "bad_short",
    "total_short",
    "error_ratio",
    "error_ratio_at_least",
    "error_ratio_needed",
    "fires",
)


def sli_table(reports: Iterable[SliReport]) -> pd.DataFrame:
    """A row for each report, series and window, in the order of the reports; columns as in `slis.parquet`.

    Where there were no events, `ratio`, `burn_rate` and `budget_remaining_ratio` are NaN.
    """
    tables = [report_table(report) for report in reports]
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    return table.to_pandas()


def transition_table(transitions: Iterable[Transition]) -> pd.DataFrame:
    """A row for each change of an alert's state, in their order; columns TRANSITION_COLUMNS.

    time, starts_at, ends_at : event time in UTC; `ends_at` is NaT while the alert goes on
    labels                   : a dict, of those labels that have no column
    """
    table = pd.DataFrame([_transition_row(one) for one in transitions], columns=TRANSITION_COLUMNS)
    for column in ("time", "starts_at", "ends_at"):
        table[column] = pd.to_datetime(table[column].astype("Int64"), unit="ms", utc=True)
    return table


def episode_table(transitions: Iterable[Transition]) -> pd.DataFrame:
    """A row for each time that an alert fired, in the order of firing; columns EPISODE_COLUMNS.

    resolved_at : NaT while it still fires
    """
    changes = transition_table(transitions)
    episode = ["fingerprint", "starts_at"]
    fired = changes[changes["state"] == "firing"].rename(columns={"time": "fired_at"})
    resolved = changes[changes["state"] == "resolved"].rename(columns={"time": "resolved_at"})
    joined = fired.merge(resolved[[*episode, "resolved_at"]], on=episode, how="left")
    return joined[list(EPISODE_COLUMNS)]


def evidence_table(transition: Transition) -> pd.DataFrame:
    """Why a burn-rate alert fired: a row for each tier of its severity; columns EVIDENCE_COLUMNS.

    A tier fires when both burn rates exceed `factor` and the errors of the long window are no chance:
    `error_ratio_at_least`, the lower confidence bound of `error_ratio`, lies above `error_ratio_needed`.
    Counts are those of the evidence: events, slices, or for sums and ratios of slices millionths.
    The bound is NaN where the burn rates do not ask for it; a burn rate is NaN without events.

    Raises ValueError for an alert of another kind, which has no tiers.
    """
    evidence = transition.alert.evidence
    if "tiers" not in evidence:
        raise ValueError(
            f"expected an alert with tiers in its evidence, found {transition.alert.alertname} with "
            f"{', '.join(evidence) or 'none'}; only burn-rate alerts have tiers"
        )
    rows = [_tier_row(tier, evidence, transition.alert.value) for tier in evidence["tiers"]]
    table = pd.DataFrame(rows, columns=EVIDENCE_COLUMNS)
    return table.astype({"error_ratio": float, "error_ratio_at_least": float})


def _transition_row(transition: Transition) -> dict[str, Any]:
    alert = transition.alert
    return {
        "time": transition.at_ms,
        "previous": transition.previous,
        "state": alert.state,
        **{
            name: alert.labels.get(name, "")
            for name in ("slo", "objective", "severity", "alertname", "service")
        },
        "labels": {name: value for name, value in alert.labels.items() if name not in TRANSITION_COLUMNS},
        "starts_at": alert.starts_at_ms,
        "ends_at": alert.ends_at_ms,
        "summary": alert.annotations.get("summary", ""),
        "description": alert.annotations.get("description", ""),
        "fingerprint": alert.fingerprint,
    }


def _tier_row(
    tier: Mapping[str, Any], evidence: Mapping[str, Any], burn: Mapping[str, float]
) -> dict[str, Any]:
    long, short = evidence["windows"][tier["long"]], evidence["windows"][tier["short"]]
    bad = long["total"] - long["good"]
    return {
        "tier": f"{tier['long']}/{tier['short']}",
        "factor": tier["factor"],
        "burn_long": burn.get(tier["long"]),
        "burn_short": burn.get(tier["short"]),
        "bad_long": bad,
        "total_long": long["total"],
        "bad_short": short["total"] - short["good"],
        "total_short": short["total"],
        "error_ratio": bad / long["total"] if long["total"] else None,
        "error_ratio_at_least": tier["error_ratio_at_least"],
        "error_ratio_needed": tier["factor"] * (1.0 - evidence["target"]),
        "fires": tier["fires"],
    }
