"""Models, comparisons and decisions as tables for people and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import numpy as np

from models.registry.feature_drift import Drift
from models.registry.manifest import Manifest, Pointer
from models.registry.manifest_diff import Change
from streams.commands.console import say
from streams.commands.tables import UNKNOWN, moment, number, print_table, share
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
    figures = ("rows", "alarms a week", "precision", "recall")
    print_table(
        ("model", "version", "role", "created", *figures),
        (
            (
                manifest.name,
                manifest.version,
                ", ".join(roles) or UNKNOWN,
                moment(manifest.created_ms),
                number(manifest.rows),
                number(manifest.metrics.get("alarms_per_series_per_week")),
                share(manifest.metrics.get("precision")),
                share(manifest.metrics.get("recall")),
            )
            for manifest, roles in rows
        ),
        right=figures,
    )


def show_manifest(manifest: Manifest, roles: Sequence[str]) -> None:
    rows: list[tuple[str, str]] = [
        ("model", f"{manifest.name} {manifest.version}"),
        ("role", ", ".join(roles) or "–"),
        ("detector", manifest.detector),
        ("settings", ", ".join(f"{key}={value}" for key, value in manifest.settings.items()) or "defaults"),
        ("data", f"{moment(manifest.from_ms)} to {moment(manifest.to_ms)}, {manifest.rows:,} rows"),
        ("features", ", ".join(manifest.features)),
        ("file", f"{manifest.size:,} bytes, SHA-256 {manifest.sha256}"),
        ("config", manifest.config_hash),
        ("created", f"{moment(manifest.created_ms)} by streamgauge {manifest.code_version}"),
        *((name.replace("_", " "), number(value)) for name, value in manifest.metrics.items()),
        *([("note", manifest.note)] if manifest.note else []),
    ]
    print_table(("what", "value"), rows)


def history_json(pointers: Iterable[Pointer]) -> dict[str, Any]:
    return {pointer.role: msgspec.to_builtins(pointer.history) for pointer in pointers}


def show_history(pointers: Iterable[Pointer]) -> None:
    for pointer in pointers:
        for one in pointer.history[-HISTORY_SHOWN:]:
            words = [f"{moment(one.at_ms)}  {pointer.role}: {one.version or 'no version'}"]
            words += [f"by {one.by}"] * bool(one.by) + [f"({one.reason})"] * bool(one.reason)
            say(" ".join(words))


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
    figures = ("PSI", "allowed", "distance")
    columns = (drift.features, drift.psi, drift.psi_allowed, drift.distance)
    print_table(
        ("feature", *figures),
        ((feature, *map(number, values)) for feature, *values in zip(*columns, strict=True)),
        right=figures,
    )
    for reason in drift.reasons:
        say(reason)
    say("Train it again on recent data" if drift.retrain else "No drift")


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
    print_table(
        ("check", "answer", "why"),
        (
            (check.name, "passed" if check.passed else "refused", check.text)
            for check in trial.decision.checks
        ),
    )
    if trial.problem:
        say(f"The champion was not compared with: {trial.problem}")


def changes_json(changes: Iterable[Change]) -> list[dict[str, Any]]:
    return [asdict(change) for change in changes]


def show_changes(old: str, new: str, changes: Sequence[Change]) -> None:
    if not changes:
        say("Nothing differs but the version")
        return
    print_table(
        ("what", old, new),
        ((one.name, _value(one.name, one.old), _value(one.name, one.new)) for one in changes),
    )


def show_comparison(old: str, new: str, report: dict[str, Any]) -> None:
    compared = ("alarms_per_series_per_week", "episodes", "alarm_steps", "judged_steps", "cpu_seconds")
    alarms = report["alarm_steps"]
    rows = [
        (name.replace("_", " "), *(number(report[side][name]) for side in ("champion", "shadow")))
        for name in compared
    ]
    only = (number(alarms["only_champion"]), number(alarms["only_shadow"]))
    print_table(("what", old, new), [*rows, ("alarm steps only here", *only)], right=(old, new))
    say(
        f"{number(alarms['both'])} alarm steps in both; correlation of scores "
        f"{number(report['score_correlation'])}"
    )
    for one in report["examples"]:
        whose = old if one["who"] == "champion" else new
        series = ", ".join(one["series"]) or "the series"
        say(f"{moment(one['at_ms'])}  {series}: only {whose}")


def _value(name: str, value: Any) -> str:
    """What a manifest has under a name."""
    if name in ("from_ms", "to_ms"):
        return moment(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return number(value) if is_number or value is None else str(value)
