"""What two versions of a model differ in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.registry.feature_drift import FeatureSample
from models.registry.manifest import Manifest

__all__ = ["Change", "diff_manifests"]

_PLAIN = ("detector", "from_ms", "to_ms", "rows", "size", "code_version", "config_hash", "note")

DISTANCE_MIN = 0.1
"""Distributions nearer than this, in shares, are the same to the eye: their points are 0.05 apart."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    name : such as `rows`, `settings.trees`, `metrics.recall`, `features.rate`
    old, new : None where one of them has none
    """

    name: str
    old: Any
    new: Any


def diff_manifests(old: Manifest, new: Manifest) -> tuple[Change, ...]:
    """All that differs but version, hash and time of creation, which always do."""
    return tuple(_changes(old, new))


def _changes(old: Manifest, new: Manifest) -> Iterator[Change]:
    for name in _PLAIN:
        yield from _change(name, getattr(old, name), getattr(new, name))
    yield from _keys("settings", old.settings, new.settings)
    yield from _keys("metrics", old.metrics, new.metrics)
    samples = [{sample.name: sample for sample in manifest.sample} for manifest in (old, new)]
    for name in dict.fromkeys([*old.features, *new.features]):
        there = [name in manifest.features for manifest in (old, new)]
        before, after = (one.get(name) for one in samples)
        if not all(there):
            yield Change(f"features.{name}", *("there" if one else None for one in there))
        elif before and after and _distance(before, after) >= DISTANCE_MIN:
            yield Change(f"features.{name}", _range(before), _range(after))


def _change(name: str, old: Any, new: Any) -> Iterator[Change]:
    if old != new:
        yield Change(name, old, new)


def _keys(place: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for key in dict.fromkeys([*old, *new]):
        yield from _change(f"{place}.{key}", old.get(key), new.get(key))


def _distance(old: FeatureSample, new: FeatureSample) -> float:
    """Largest difference of the two distribution functions, drawn straight between their points."""
    if not old.points or not new.points:
        return float(old.points != new.points)
    at = np.unique([*old.points, *new.points])
    before, after = (np.interp(at, one.points, one.below, left=0.0, right=1.0) for one in (old, new))
    return float(np.abs(before - after).max())


def _range(sample: FeatureSample) -> str:
    """Its median and its range, such as `3 (0.5 to 12)`."""
    if not sample.points:
        return "no values"
    median = sample.points[int(np.searchsorted(np.asarray(sample.below), 0.5))]
    return f"{median:.4g} ({sample.points[0]:.4g} to {sample.points[-1]:.4g})"
