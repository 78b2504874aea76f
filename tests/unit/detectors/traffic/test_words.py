"""The words for what was seen, on windows drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.traffic.words import KINDS, kinds
from models.arrays import Numbers

NOISE = np.array(
    [
        0.3,
        -0.4,
        0.1,
        0.5,
        -0.2,
        -0.5,
        0.4,
        0.0,
        0.2,
        -0.3,
        0.1,
        -0.1,
        0.4,
        -0.2,
        0.0,
        0.3,
        -0.4,
        0.2,
        0.1,
        -0.1,
    ]
)


def window(kind: str) -> Numbers:
    w = NOISE.copy()
    if kind == "spike":
        w[-1] = 9.0
    elif kind == "drop":
        w[-2:] = -9.0
    elif kind == "level shift":
        w[-6:] += 6.0
    elif kind == "drift":
        w = w * 0.2 + np.linspace(0, 6, len(w))
    elif kind == "variance":
        w[-8:] = [5, -6, 4, -5, 6, -4, 5, -6]
    else:
        w[-8:] = 0.25
    return w


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind(kind: str) -> None:
    assert kinds(window(kind)[None], np.array([50.0]), np.array([60.0])).tolist() == [kind]


def test_nothing_where_something_is_expected_is_silence() -> None:
    w = window("drop")[None]
    assert kinds(w, np.array([0.0]), np.array([60.0])).tolist() == ["silence"]
    assert kinds(w, np.array([0.0]), np.array([-60.0])).tolist() == ["drop"]


def test_many_at_once_and_none() -> None:
    stacked = np.stack([window(kind) for kind in KINDS])
    assert kinds(stacked, np.full(6, 50.0), np.full(6, 60.0)).tolist() == list(KINDS)
    assert len(kinds(np.zeros((0, 20)), np.zeros(0), np.zeros(0))) == 0
