"""What a bank of services is learnt from: each service's history, in its own scale and directions.

Histories of one length are learnt together, since following levels goes step by step; each result depends on
its own history alone, but for the forest, which is grown from all.

Axes: T steps, S services, F signals (as many directions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol, Self

import numpy as np

from detectors.api.detector import Panel
from detectors.calibration.block_maxima import GumbelTail
from detectors.multivariate.bank import LEVEL_PULL_MAX, LEVEL_STEPS, Bank, forest_factor, smooth
from models.anomaly.day_profile import fit_profile, usual_at
from models.anomaly.forest import Forest
from models.anomaly.joint import Joint, along_directions, mean_distance
from models.anomaly.joint_scale import Scale, follow_level, in_spreads, usable
from models.arrays import EpochMs, Numbers, Rows

FOREST_TREES = 64
FOREST_ROWS_MAX = 100_000
"""Rows that the forest is grown from, evenly taken from all services' histories."""


class History(NamedTuple):
    """Steps at which any signal of a service was seen: EpochMs [T], Numbers [T, F]."""

    times: EpochMs
    values: Numbers

    @classmethod
    def of(cls, panel: Panel, column: int) -> Self:
        """The steps of a panel's series at which it was seen."""
        values = panel.values[:, column]
        seen = np.isfinite(values).any(axis=1)
        return cls(panel.times[seen], usable(values[seen]))

    def then(self, later: History) -> History:
        """This history followed by later values."""
        return History(np.concatenate([self.times, later.times]), np.concatenate([self.values, later.values]))


class Trainer(Protocol):
    """A way to learn services from histories."""

    def __call__(
        self, histories: Sequence[History], forest: Forest | None, *, seed: int
    ) -> tuple[Bank, Forest]:
        """A bank with a row for each history, as it is after the last step, and the forest."""


def learn_services(histories: Sequence[History], forest: Forest | None, *, seed: int) -> tuple[Bank, Forest]:
    """A bank with a row for each history, as it is after the last step, and the forest.

    forest : the one in use; regrown from these histories if None
    Raises ValueError where a history is shorter than a tail needs.
    """
    lengths = np.array([len(history.times) for history in histories])
    groups: list[Rows] = [np.flatnonzero(lengths == length) for length in np.unique(lengths)]
    places = [_learn_places([histories[row] for row in group.tolist()]) for group in groups]
    if forest is None:
        forest = _grow_forest([along for _, along in places], seed=seed)
    whole = Bank.empty(histories[0].values.shape[1])
    for group, (bank, along) in zip(groups, places, strict=True):
        whole = whole.with_rows(group, _learn_tails(bank, along, forest))
    return whole, forest


def _learn_places(histories: Sequence[History]) -> tuple[Bank, Numbers]:
    """A bank but for its tails, and distances along directions, Numbers [T, S, F], of equal histories."""
    values = np.stack([history.values for history in histories], axis=1)
    scales = [Scale.fit(history.values) for history in histories]
    center = np.stack([scale.center for scale in scales])
    spread = np.stack([scale.spread for scale in scales])
    distances = in_spreads(values, center, spread)
    levels, level = follow_level(distances, np.zeros_like(center), steps=LEVEL_STEPS, pull_max=LEVEL_PULL_MAX)
    left = np.where(np.isfinite(distances), distances - levels, 0.0)
    profiles, joints, along = [], [], np.empty_like(left)
    for row, history in enumerate(histories):
        profile = fit_profile(history.times, left[:, row])
        offsets = left[:, row] - usual_at(history.times, profile[None])[:, 0]
        joint = Joint.fit(offsets)
        along[:, row] = along_directions((offsets - joint.mean)[:, None], joint.directions[None])[:, 0]
        profiles.append(profile)
        joints.append(joint)
    bank = Bank.of(
        center=center,
        spread=spread,
        mean=np.stack([joint.mean for joint in joints]),
        directions=np.stack([joint.directions for joint in joints]),
        profile=np.stack(profiles),
        leading=np.array([joint.leading for joint in joints], np.int64),
        level=level,
    )
    return bank, along


def _learn_tails(bank: Bank, along: Numbers, forest: Forest) -> Bank:
    """The bank with the tails of its histories' scores."""
    oddness = mean_distance(along) * forest_factor(along, forest)
    scores, bank = smooth(oddness, replace(bank, fast=oddness[0], slow=oddness[0]))
    tails = [GumbelTail.fit(column) for column in scores.T]
    return replace(
        bank,
        location=np.array([tail.location for tail in tails]),
        scale=np.array([tail.scale for tail in tails]),
        block_steps=np.array([tail.block_steps for tail in tails], np.int64),
    )


def _grow_forest(along: Sequence[Numbers], *, seed: int) -> Forest:
    """A forest of all services' distances along their directions, each Numbers [T, S, F]."""
    rows = np.abs(np.concatenate([part.reshape(-1, part.shape[-1]) for part in along]))
    taken = np.linspace(0, len(rows) - 1, min(len(rows), FOREST_ROWS_MAX)).astype(np.int64)
    return Forest.fit(rows[taken], trees=FOREST_TREES, seed=seed)
