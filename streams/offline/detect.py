"""A detector on a whole panel, step by step as the worker would: no step is judged by later data."""

from __future__ import annotations

from collections.abc import Callable

from detectors.api.detector import Detector, Panel, Verdicts

__all__ = ["detect"]

CHUNK_STEPS = 256
"""Steps between two reports of progress."""


def detect(
    panel: Panel,
    detector: Detector,
    *,
    learn: float = 0.15,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[Panel, Verdicts]:
    """Learn from the first steps and judge the others, each before it is learnt from.

    learn    : share of the steps to learn from, below 1; with 0 the detector goes on from what it knows
    progress : called with the number of steps that were judged since the last call
    returns  : the steps that were judged, and their verdicts

    Raises ValueError where no step is left to judge, or the detector does not take the panel.
    """
    first = round(len(panel) * learn)
    if len(panel) - first < 1:
        raise ValueError(f"{len(panel)} steps are too few to learn from and judge")
    if first:
        detector.fit(panel.rows(0, first))
    judged, parts = panel.rows(first, len(panel)), []
    for start in range(0, len(judged), CHUNK_STEPS):
        part = judged.rows(start, start + CHUNK_STEPS)
        parts.append(detector.update(part))
        progress(len(part))
    return judged, Verdicts.joined(parts)
