"""Train a detector on a panel, test it on what it has not seen, and store both model and outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from detectors.api.detector import Panel
from detectors.feedback.fitting import backtest_holdout, learn
from detectors.feedback.labels import Label
from models.registry.feature_drift import sample_features
from models.registry.manifest import Manifest, config_hash
from models.registry.model_files import unpack_state
from models.registry.registry import Registry
from models.registry.training import Trainer

__all__ = ["train_model"]


def train_model(
    registry: Registry,
    trainer: Trainer,
    panel: Panel,
    *,
    name: str,
    detector: str,
    settings: dict[str, Any],
    holdout: float,
    labels: Sequence[Label] = (),
    note: str = "",
    progress: Callable[[], object] = lambda: None,
) -> Manifest:
    """A model of the whole panel; its metrics are those of one that has not seen the last `holdout`.

    holdout  : share of the steps, 0 for no backtest
    labels   : of the detector or of the model's name
    progress : called once after the backtest, once after the training, once it is stored

    Raises ValueError where the panel is too short, ModelError where training or storing fails.
    """
    split = len(panel) - round(len(panel) * holdout)
    if not 1 <= split <= len(panel) or (holdout and split == len(panel)):
        raise ValueError(f"{len(panel)} steps are too few to train on and to hold {100 * holdout:g} % out")
    arrays = (panel.times, panel.series, panel.features, panel.values)
    digest = config_hash(detector, settings)
    tested = (
        trainer.submit(backtest_holdout, detector, settings, *arrays, split, tuple(labels), name)
        if holdout
        else None
    )
    learnt = trainer.submit(learn, detector, settings, *arrays)
    metrics = unpack_state(tested.result()) if tested else {}
    progress()
    model = learnt.result()
    progress()
    stored = registry.put(
        Manifest(
            name=name,
            detector=detector,
            version="",
            sha256="",
            size=0,
            from_ms=int(panel.times[0]),
            to_ms=int(panel.times[-1]),
            rows=int(np.count_nonzero(np.isfinite(panel.values).any(axis=2))),
            features=panel.features,
            settings=settings,
            metrics=metrics,
            sample=sample_features(panel.features, panel.values),
            config_hash=digest,
            code_version=version("streamgauge"),
            created_ms=0,
            note=note,
        ),
        model,
    )
    progress()
    return stored
