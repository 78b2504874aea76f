"""Models, comparisons and decisions as tables for people and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from models.registry.feature_drift import Drift
from models.registry.manifest import Manifest, Pointer
from models.registry.manifest_diff import Change
from streams.modelling.compare import Trial

__all__ = [
    "changes_json",
    "drift_json",
    "history_json",
    "manifest_json",
    "show_changes",
    "show_comparison",
    "show_drift",
    "show_history",
    "show_list",
    "show_manifest",
    "show_trial",
    "trial_json",
]

HISTORY_SHOWN = 5


def manifest_json(manifest: Manifest, roles: Sequence[str], *, short: bool = False) -> dict[str, Any]:
    """The manifest with its roles; `short` leaves the distribution of the features out."""
    body: dict[str, Any] = msgspec.to_builtins(manifest)
    if short:
        del body["sample"]
    return body | {"roles": list(roles)}


def show_list(rows: Iterable[tuple[Manifest, Sequence[str]]]) -> None:
    table = Table()
    for name in ("model", "version", "role", "created"):
        table.add_column(name, no_wrap=name == "version")
    for name in ("rows", "alarms/week", "precision", "recall"):
        table.add_column(name, justify="right")
    for manifest, roles in rows:
        metrics = manifest.metrics
        table.add_row(
            manifest.name,
            manifest.version,
            ", ".join(roles),
            _time(manifest.created_ms),
            f"{manifest.rows:,}",
            *(_number(metrics.get(key)) for key in ("alarms_per_series_per_week", "precision", "recall")),
        )
    Console().print(table)


def show_manifest(manifest: Manifest, roles: Sequence[str]) -> None:
    table = Table(show_header=False)
    table.add_column("what")
    table.add_column("value", overflow="fold")
    rows: list[tuple[str, str]] = [
        ("model", f"{manifest.name} {manifest.version}"),
        ("role", ", ".join(roles) or "–"),
        ("detector", manifest.detector),
        ("settings", ", ".join(f"{key}={value}" for key, value in manifest.settings.items()) or "defaults"),
        ("data", f"{_time(manifest.from_ms)} to {_time(manifest.to_ms)}, {manifest.rows:,} rows"),
        ("features", ", ".join(manifest.features)),
        ("file", f"{manifest.size:,} bytes, SHA-256 {manifest.sha256}"),
        ("config", manifest.config_hash),
        ("created", f"{_time(manifest.created_ms)} by streamgauge {manifest.code_version}"),
        *((name.replace("_", " "), _number(value)) for name, value in manifest.metrics.items()),
        *([("note", manifest.note)] if manifest.note else []),
    ]
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def history_json(pointers: Iterable[Pointer]) -> dict[str, Any]:
    return {pointer.role: msgspec.to_builtins(pointer.history) for pointer in pointers}


def show_history(pointers: Iterable[Pointer]) -> None:
    for pointer in pointers:
        for one in pointer.history[-HISTORY_SHOWN:]:
            words = [f"{_time(one.at_ms)}  {pointer.role}: {one.version or 'no version'}"]
            words += [f"by {one.by}"] * bool(one.by) + [f"({one.reason})"] * bool(one.reason)
            Console().print(" ".join(words), highlight=False, markup=False)


def drift_json(drift: Drift) -> dict[str, Any]:
    columns = (drift.features, drift.psi, drift.psi_allowed, drift.distance, drift.missing_change)
    names = ("psi", "psi_allowed", "distance", "missing_change")
    return {
        "retrain": drift.retrain,
        "reasons": list(drift.reasons),
        "features": {
            feature: {
                name: float(value) if np.isfinite(value) else None
                for name, value in zip(names, values, strict=True)
            }
            for feature, *values in zip(*columns, strict=True)
        },
    }


def show_drift(drift: Drift) -> None:
    table = Table()
    table.add_column("feature")
    for name in ("PSI", "allowed", "distance"):
        table.add_column(name, justify="right")
    for feature, *values in zip(drift.features, drift.psi, drift.psi_allowed, drift.distance, strict=True):
        table.add_row(feature, *map(_number, values))
    Console().print(table)
    for reason in drift.reasons:
        Console().print(reason, highlight=False, markup=False)
    Console().print("Train it again on recent data" if drift.retrain else "No drift", highlight=False)


def trial_json(trial: Trial) -> dict[str, Any]:
    return {
        "candidate": trial.candidate,
        "champion": trial.champion,
        "champion_problem": trial.problem,
        "target": trial.target,
        "passed": trial.decision.promote,
        "checks": [asdict(check) for check in trial.decision.checks],
        "metrics": trial.outcome.metrics(),
        "champion_metrics": trial.champion_outcome.metrics() if trial.champion_outcome else None,
    }


def show_trial(trial: Trial) -> None:
    table = Table()
    for name in ("check", "", "why"):
        table.add_column(name)
    for check in trial.decision.checks:
        table.add_row(check.name, "passed" if check.passed else "refused", check.text)
    Console().print(table)
    if trial.problem:
        Console().print(f"The champion was not compared with: {trial.problem}", highlight=False, markup=False)


def changes_json(changes: Iterable[Change]) -> list[dict[str, Any]]:
    return [asdict(change) for change in changes]


def show_changes(old: str, new: str, changes: Sequence[Change]) -> None:
    table = Table()
    for name in ("what", old, new):
        table.add_column(name, overflow="fold")
    for change in changes:
        is_time = change.name in ("from_ms", "to_ms")
        table.add_row(
            change.name, *(_time(one) if is_time else _number(one) for one in (change.old, change.new))
        )
    Console().print(table if changes else "Nothing differs but the version")


def show_comparison(old: str, new: str, report: dict[str, Any]) -> None:
    table = Table()
    for name in ("", old, new):
        table.add_column(name, justify="right" if name else "left")
    for key in ("alarms_per_series_per_week", "episodes", "alarm_steps", "judged_steps", "cpu_seconds"):
        sides = (report[side][key] for side in ("champion", "shadow"))
        table.add_row(key.replace("_", " "), *map(_number, sides))
    alarms = report["alarm_steps"]
    table.add_row("alarm steps only here", str(alarms["only_champion"]), str(alarms["only_shadow"]))
    Console().print(table)
    correlation = report["score_correlation"]
    Console().print(
        f"{alarms['both']:,} alarm steps in both; correlation of scores {_number(correlation)}",
        highlight=False,
    )
    for one in report["examples"]:
        only = old if one["who"] == "champion" else new
        series = ", ".join(one["series"]) or "the series"
        Console().print(f"{_time(one['at_ms'])}  {series}: only {only}", highlight=False, markup=False)


def _time(at_ms: int | None) -> str:
    if at_ms is None:
        return "–"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _number(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
