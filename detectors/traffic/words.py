"""A word for what was seen, from a signal's last steps: spike, drop, level shift, drift, variance or silence.

At its first step a lasting change looks like a spike or a drop; the word follows as the incident goes on.
Axes: N incidents, D steps of a window, the latest last.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.arrays import Numbers

KINDS = ("spike", "drop", "level shift", "drift", "variance", "silence")

RECENT = 8
"""Steps that a changed variance or a flat line is seen over."""

LASTING = 5
"""Steps on one side that make a change of level."""

FLAT = 1e-3
"""Spreads within which recent steps count as equal."""

DRIFT_FIT = 0.95
"""Correlation with time from which a window counts as a slope."""

UNREST = 3.0
"""Ratio of recent to earlier leaps from step to step that makes a change of variance."""


def kinds(windows: Numbers, values: Numbers, expected: Numbers) -> NDArray[np.object_]:
    """Return a word of `KINDS` for each incident.

    windows  : Numbers [N, D], distances from the baseline in spreads
    values   : Numbers [N], seen last; expected : Numbers [N], what would have been normal
    """
    w = np.asarray(windows, np.float64)
    recent, earlier = w[:, -RECENT:], w[:, :-RECENT]
    now = w[:, -1]
    usual = np.median(earlier, axis=1)
    noise = np.maximum(1.5 * np.median(np.abs(earlier - usual[:, None]), axis=1), 0.1)
    rose = np.where(now >= usual, 1.0, -1.0)
    word = np.where(now >= usual, "spike", "drop").astype(np.object_)

    side = (w[:, -LASTING:] - usual[:, None]) * rose[:, None] > 2 * noise[:, None]
    word[side.all(axis=1)] = "level shift"

    # Medians: one or two leaps are a spike, not unrest.
    leap, usual_leap = (np.median(np.abs(np.diff(part, axis=1)), axis=1) for part in (recent, earlier))
    word[(leap > UNREST * np.maximum(usual_leap, 0.1)) & ~side.all(axis=1)] = "variance"

    steps = np.arange(w.shape[1]) - (w.shape[1] - 1) / 2
    centred = w - w.mean(axis=1, keepdims=True)
    norm = np.sqrt(np.square(centred).sum(axis=1) * np.square(steps).sum())
    slope_fit = np.abs(centred @ steps) / np.maximum(norm, 1e-12)
    span = np.ptp(w, axis=1)
    gradual = np.abs(np.diff(w, axis=1)).max(axis=1) < 0.3 * np.maximum(span, 1e-12)
    word[(slope_fit > DRIFT_FIT) & gradual & (span > 1)] = "drift"

    flat = (np.ptp(recent, axis=1) < FLAT) & (earlier.std(axis=1) > 10 * FLAT)
    nothing = (values == 0) & (expected > 0) & (now < 0)
    word[flat | nothing] = "silence"
    return word
