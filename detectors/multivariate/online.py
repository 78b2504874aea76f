"""How a service is learnt while it streams, without a history to learn from first.

A service's first steps give its scale; from then on all is followed in bounded memory:

- what is usual : see `models.anomaly.day_level`
- how signals vary together : moments of what was left, of steps without anomaly, counted after what was usual
  had been told; directions are recomputed from them at `LESSON_BLOCKS`, then once a day.
- the tail of the score : the largest of each hour, after learning. A history tells of its own rows that they
  are less odd than the next ones will be; these are the next ones. Few hours tell little of the tail: its
  scale is raised by `DOUBT_BLOCKS` / hours, so that at first only what is overwhelming alarms. Hours of other
  services help.

Axes: T steps, S services, F signals (as many directions), R hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detectors.calibration.block_maxima import BLOCK_STEPS, POWER, quartile_fit
from detectors.multivariate.bank import PEAKS_MAX, Bank
from detectors.multivariate.training import History, learn_services
from models.anomaly.day_level import RECENT_STEPS, DayLevel
from models.anomaly.forest import Forest
from models.anomaly.joint import Joint
from models.anomaly.joint_scale import in_spreads
from models.arrays import Mask, Numbers, Rows

LESSON_BLOCKS = (4, 12)
"""Hours after which directions are relearnt, before the first day is over."""

KEPT_OF_DAY = 0.5
"""What is left of the moments of the days before, at each day's training."""

KEPT_OF_START = 0.1
"""The same at trainings before the second day is over."""

OFFSET_MAX = 5.0
"""Spreads at which offsets are cut before they count as moments."""

DOUBT_BLOCKS = 12.0
"""So many hours raise the tail's scale twofold, ten times as many by a tenth. Of short steps half a day's
blocks do, since a rate in weeks lies further out in their tail."""

OTHERS_SHARE = 0.25
"""An hour of another service tells so much of this one's."""

POOL_BLOCKS = 12.0
"""Hours for which the other services speak."""

FAR_QUANTILE = 0.95
"""Of a service's hours, read beside the quartiles: an anomaly of an hour or two does not reach it."""

OWN_BLOCKS_MIN = 8
"""Hours that quartiles of a service's own need."""


def begin(histories: Sequence[History], forest: Forest | None, *, seed: int) -> tuple[Bank, Forest]:
    """A bank of services that have been seen for so long, as after the last step of each, and the forest.

    Raises ValueError where a history is shorter than a tail needs.
    """
    bank, forest = learn_services(histories, forest, seed=seed)
    bank = replace(
        bank,
        online=np.ones(len(bank), np.bool_),
        mean=np.zeros_like(bank.mean),
        peaks=np.full((len(bank), PEAKS_MAX), np.nan),
        # in blocks of this module's length
        guess=np.stack(
            [bank.location + bank.scale * np.log(BLOCK_STEPS / bank.block_steps), bank.scale], axis=1
        ),
    )
    directions = bank.directions.copy()
    # Those that were seen at the same steps are followed together.
    groups: dict[bytes, list[int]] = {}
    for row, history in enumerate(histories):
        groups.setdefault(history.times.tobytes(), []).append(row)
    for members in groups.values():
        rows, times = np.array(members), histories[members[0]].times
        values = np.stack([histories[row].values for row in members], axis=1)
        distances = in_spreads(values, bank.center[rows], bank.spread[rows])
        blank = DayLevel.blank(np.repeat(times[:1], len(rows)), values.shape[2])
        usual, stray, after = blank.follow(times, distances)
        # Where the level has not been found yet, what is left is not what will be.
        found = np.nan_to_num((distances - usual) / stray)[min(int(RECENT_STEPS), len(times) // 2) :]
        for place, row in enumerate(members):
            directions[row] = Joint.fit(found[:, place]).directions
        bank = bank.with_rows(rows, replace(bank.rows(rows), **after._asdict()))
    bank = replace(bank, directions=directions)
    return _with_tails(bank, np.arange(len(bank)), DOUBT_BLOCKS), forest


def count_moments(offsets: Numbers, scores: Numbers, alarms: Mask, bank: Bank) -> Bank:
    """The bank with what steps within one block have shown: moments and the block's largest score.

    offsets : Numbers [T, S, F] from what was usual, 0 where missing; scores : Numbers [T, S]; alarms : Mask
    """
    seen = np.isfinite(scores)
    calm = np.clip(offsets, -OFFSET_MAX, OFFSET_MAX) * (seen & ~alarms)[..., None]
    moment, peak, age = bank.moment.copy(), bank.peak.copy(), bank.age + seen.sum(axis=0)
    # step by step, so that a sum does not depend on how many come at once
    for step, row in enumerate(calm):
        moment += row[:, :, None] * row[:, None, :]
        peak = np.fmax(peak, scores[step])
    counted = bank.counted + (seen & ~alarms).sum(axis=0)
    return replace(bank, moment=moment, peak=peak, age=age, counted=counted)


def end_blocks(bank: Bank, rows: Rows, day_blocks: int) -> Bank:
    """The whole bank where blocks of the services Rows end: tails anew, and directions where it is time.

    day_blocks : blocks of a day
    """
    some = bank.rows(rows)
    peaks = np.concatenate([some.peaks[:, 1:], some.peak[:, None] ** POWER], axis=1)
    some = replace(some, peak=np.zeros(len(rows)))
    blocks = some.age // BLOCK_STEPS
    daily = blocks % day_blocks == 0
    due = np.flatnonzero((daily | np.isin(blocks, LESSON_BLOCKS)) & (some.counted >= BLOCK_STEPS))
    directions, moment, counted = some.directions.copy(), some.moment.copy(), some.counted.copy()
    for row in due.tolist():
        directions[row] = Joint.of_moment(moment[row] / counted[row]).directions
        # What was left before the day was known says little of what will be.
        kept = KEPT_OF_DAY if blocks[row] >= 2 * day_blocks else KEPT_OF_START
        moment[row] *= kept
        counted[row] *= kept
        if blocks[row] == 2 * day_blocks:
            peaks[row, : peaks.shape[1] - day_blocks] = np.nan
    some = replace(some, directions=directions, moment=moment, counted=counted, peaks=peaks)
    return _with_tails(bank.with_rows(rows, some), rows, max(DOUBT_BLOCKS, day_blocks / 2.0))


def _with_tails(bank: Bank, rows: Rows, doubt_blocks: float) -> Bank:
    """The bank with the tails of some services refitted; so many blocks leave a scale raised twofold."""
    some = bank.rows(rows)
    location, scale, counts = _own_tails(bank)
    weights = np.where(counts >= OWN_BLOCKS_MIN, counts, 0.0)
    own, others = counts[rows], np.minimum(counts, float(bank.peaks.shape[1]))
    helped = OTHERS_SHARE * (others.sum() - others[rows])
    if weights.sum() > 0:
        pooled = [np.full(len(rows), (weights * each).sum() / weights.sum()) for each in (location, scale)]
    else:
        pooled = [some.guess[:, 0], some.guess[:, 1]]
    weight = weights[rows]
    found = [
        (weight * each[rows] + POOL_BLOCKS * pool) / (weight + POOL_BLOCKS)
        for each, pool in zip((location, scale), pooled, strict=True)
    ]
    doubt = 1.0 + doubt_blocks / (own + helped + 0.5)
    blocks = np.full(len(rows), BLOCK_STEPS, np.int64)
    fitted = replace(some, location=found[0], scale=found[1] * doubt, block_steps=blocks)
    return bank.with_rows(rows, fitted)


def _own_tails(bank: Bank) -> tuple[Numbers, Numbers, Numbers]:
    """Location, scale and number of blocks, Numbers [S] each, of each service's own; zeros for few."""
    counts = np.isfinite(bank.peaks).sum(axis=1).astype(np.float64)
    location, scale = np.zeros(len(bank)), np.zeros(len(bank))
    enough = np.flatnonzero(bank.online & (counts >= OWN_BLOCKS_MIN))
    if len(enough):
        location[enough], scale[enough] = quartile_fit(bank.peaks[enough], far=FAR_QUANTILE)
    return location, scale, np.where(bank.online, counts, 0.0)
