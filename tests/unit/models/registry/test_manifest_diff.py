"""Two versions differ in what a person would call a difference."""

from __future__ import annotations

import msgspec
import numpy as np

from models.registry.feature_drift import sample_features
from models.registry.manifest_diff import Change, diff_manifests
from tests.unit.models.registry.test_registry import manifest

RNG = np.random.default_rng(5)


def test_a_version_does_not_differ_from_itself_however_it_is_named() -> None:
    again = msgspec.structs.replace(manifest(), version="000009-0123456789ab", created_ms=9, sha256="ff")
    assert diff_manifests(manifest(), again) == ()


def test_settings_metrics_and_data_are_compared_by_key() -> None:
    old = manifest(settings={"trees": 100, "seed": 1})
    new = manifest(settings={"trees": 200, "window": 5})
    new = msgspec.structs.replace(new, rows=9, metrics={"alarms_per_series_per_week": 0.1, "precision": 0.5})
    changes = {change.name: (change.old, change.new) for change in diff_manifests(old, new)}
    assert changes.pop("config_hash") == (old.config_hash, new.config_hash)
    assert changes == {
        "rows": (1440, 9),
        "settings.trees": (100, 200),
        "settings.seed": (1, None),
        "settings.window": (None, 5),
        "metrics.precision": (None, 0.5),
    }


def test_features_that_come_or_go_or_move_are_named() -> None:
    base = manifest()

    def with_features(**columns: np.ndarray) -> object:
        sample = sample_features(list(columns), np.column_stack(list(columns.values())))
        return msgspec.structs.replace(base, features=tuple(columns), sample=sample)

    draw = RNG.normal(size=(4, 2000))
    old = with_features(same=draw[0], moved=draw[1], gone=draw[2])
    new = with_features(same=draw[3], moved=draw[1] + 3, new=draw[2])
    changes = diff_manifests(old, new)
    assert [change.name for change in changes] == ["features.moved", "features.gone", "features.new"]
    assert changes[1] == Change("features.gone", "there", None)
    assert str(changes[0].new).startswith("3.0") or str(changes[0].new).startswith("2.9")


def test_features_without_values_are_no_trouble() -> None:
    empty = sample_features(["rate"], np.full((5, 1), np.nan))
    old = msgspec.structs.replace(manifest(), sample=empty)
    assert diff_manifests(old, old) == ()
    (change,) = diff_manifests(old, manifest())
    assert change.old == "no values"
