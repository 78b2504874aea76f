"""Stored models on the same data: side by side, and before the gate of a promotion."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from detectors.api.detector import Detector, Panel
from detectors.feedback.fitting import restored, run_backtest
from detectors.feedback.labels import Label
from detectors.feedback.shadow import Shadow
from models.registry.backtest import Backtest
from models.registry.errors import ModelError, ModelMissingError
from models.registry.feature_drift import Drift, drift_of
from models.registry.manifest import Manifest
from models.registry.promotion import Decision, Gate, decide
from models.registry.registry import Registry

__all__ = ["DEFAULT_RATE", "Trial", "compare_models", "detector_of", "drift_of_champion", "try_promotion"]

DEFAULT_RATE = 0.1
"""False alarms per series and week that are asked for where a model's settings do not say."""

CHUNK_STEPS = 256
"""Steps judged between two looks at the progress bar."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate before the gate.

    champion : its version; None where there is none, or it is the candidate
    problem  : why the champion could not be compared with; empty if it could
    target   : alarms per series and week that were asked for
    """

    candidate: str
    champion: str | None
    problem: str
    target: float
    outcome: Backtest
    champion_outcome: Backtest | None
    decision: Decision


def detector_of(registry: Registry, name: str, version: str, trusted: Collection[str] = ()) -> Detector:
    """The stored model as a detector.

    Raises ModelError or ValueError.
    """
    stored = registry.load(name, version)
    return restored(stored.manifest.detector, stored.manifest.settings, stored.state, trusted=trusted)


def drift_of_champion(registry: Registry, name: str, panel: Panel) -> Drift | None:
    """How the features differ from those the champion learnt from; None where there is no champion."""
    version = registry.pointer(name, "champion").version
    if version is None:
        return None
    return drift_of(registry.manifest(name, version).sample, panel.features, panel.values)


def compare_models(
    champion: Detector, shadow: Detector, panel: Panel, progress: Callable[[int], object] = lambda _: None
) -> Shadow:
    """Both on the panel, as a stream; the result holds the comparison, and why a shadow failed."""
    both = Shadow(champion, shadow)
    for start in range(0, len(panel), CHUNK_STEPS):
        part = panel.rows(start, start + CHUNK_STEPS)
        both.update(part)
        progress(len(part))
    return both


def try_promotion(
    registry: Registry,
    name: str,
    candidate: str,
    *,
    panel: Panel | None = None,
    labels: Sequence[Label] = (),
    gate: Gate | None = None,
    target: float | None = None,
    trusted: Collection[str] = (),
) -> Trial:
    """Put a version before the gate: on the panel, or by the backtests of the manifests without one.

    target : asked rate of alarms; the setting of the model if None
    Raises ModelError where the candidate cannot be read or was never tested. A champion that cannot be read
    does not protect itself.
    """
    manifest = registry.manifest(name, candidate)
    names = (manifest.detector, name)

    def outcome_of(version: str) -> Backtest:
        if panel is None:
            return _stored_outcome(registry, name, version)
        return run_backtest(detector_of(registry, name, version, trusted), panel, labels, names=names)

    outcome = outcome_of(candidate)
    champion = registry.pointer(name, "champion").version
    champion = None if champion == candidate else champion
    other, problem = None, ""
    if champion:
        try:
            other = outcome_of(champion)
        except (ModelError, ValueError) as error:
            problem = str(error)
    asked = target if target is not None else _asked(manifest)
    decision = decide(outcome, other, target=asked, gate=gate)
    return Trial(candidate, champion, problem, asked, outcome, other, decision)


def _stored_outcome(registry: Registry, name: str, version: str) -> Backtest:
    outcome = Backtest.of_metrics(registry.manifest(name, version).metrics)
    if outcome is None:
        raise ModelMissingError(
            f"{name}/{version} was never tested; train it with --holdout, or give --data to test it on"
        )
    return outcome


def _asked(manifest: Manifest) -> float:
    value = manifest.settings.get("false_alarms_per_series_per_week", DEFAULT_RATE)
    return float(value) if isinstance(value, int | float) and value > 0 else DEFAULT_RATE
