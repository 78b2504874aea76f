"""Findings of a step into verdicts: which series stands for a template, and how urgent it is."""

from __future__ import annotations

import numpy as np

from detectors.api.detector import INFO, PAGE, TICKET, Verdicts
from detectors.logs.memory import LogMemory
from detectors.logs.rates import Episodes
from detectors.logs.step import KINDS, MIX, NEW, SURGE, VALUE, VANISHED, LogFeatures, LogStep
from models.arrays import Numbers, Rows

PAGING_TAILS = 0.01
"""A worse mix of severities pages where its tail is below this part of the one that alarms."""


def write(
    verdicts: Verdicts, row: int, step: LogStep, memory: LogMemory, features: LogFeatures, alpha: float
) -> None:
    """Fill in row `row`; alarms are the tails below `alpha`.

    What alarms though its tail does not say so, since it lasts, is set just below; what does not though its
    tail would, since it is but few lines or another series tells it, to `alpha`.
    """
    known = np.flatnonzero(step.member >= 0)
    slot = memory.slots.member_slot[step.member[known]]
    lines = memory.members.lines[step.member[known]]
    share = (lines + 1e-9) / (np.bincount(slot, lines + 1e-9, len(step.lines))[slot])
    verdicts.tail[row, known] = step.tail[slot]
    verdicts.expected[row, known, features.count] = step.expected[slot] * share
    for number in np.flatnonzero(step.kind).tolist():
        columns = known[slot == number]
        if not len(columns):
            continue
        kind = int(step.kind[number])
        column = _spokesman(memory.episodes, number, columns, step.counts, step, memory)
        verdicts.kind[row, column] = KINDS[kind]
        verdicts.alarm[row, column] = step.alarm[number]
        verdicts.direction[row, column] = -1 if kind == VANISHED else 1
        verdicts.contributions[row, column, features.count] = step.surprise[number]
        errors = step.errors[columns].sum()
        if kind == NEW:
            severity = TICKET if errors else INFO
        else:
            severity = PAGE if kind == SURGE and 2 * errors >= step.lines[number] > 0 else TICKET
        verdicts.severity[row, column] = severity
    for column, tail, alarm in step.news:
        if not verdicts.kind[row, column]:
            _tell(verdicts, row, column, VALUE, tail, alarm, INFO)
            if features.values is not None:
                before = memory.members.value[step.member[column]]
                verdicts.expected[row, column, features.values] = before
                verdicts.contributions[row, column, features.values] = step.values[column] - before
    for service, (tail, surprise) in step.mixes.items():
        columns = np.flatnonzero((step.service == service) & (step.member >= 0))
        column = _spokesman(memory.mixes, service, columns, step.errors, step, memory)
        if not verdicts.kind[row, column]:
            _tell(verdicts, row, column, MIX, tail, True, PAGE if tail < alpha * PAGING_TAILS else TICKET)
            for place in features.errors:
                verdicts.contributions[row, column, place] = surprise / len(features.errors)
    tail = verdicts.tail[row]
    verdicts.tail[row] = np.where(
        verdicts.alarm[row], np.fmin(tail, np.nextafter(alpha, 0.0)), np.maximum(tail, alpha)
    )


def _tell(
    verdicts: Verdicts, row: int, column: int, kind: int, tail: float, alarm: bool, severity: int
) -> None:
    verdicts.kind[row, column] = KINDS[kind]
    verdicts.tail[row, column] = tail
    verdicts.alarm[row, column] = alarm
    verdicts.direction[row, column] = 1
    verdicts.severity[row, column] = severity


def _spokesman(
    episodes: Episodes, number: int, columns: Rows, amounts: Numbers, step: LogStep, memory: LogMemory
) -> int:
    """The series among `columns` at which an episode is told, the same one from its beginning to its end.

    At first it is the one that has most now, or else had most before, or else came first.
    """
    member = step.member[columns]
    told = np.flatnonzero(member == episodes.told[number] - 1.0)
    if len(told):
        return int(columns[told[0]])
    first = np.lexsort((member, -memory.members.lines[member], -amounts[columns]))[0]
    if episodes.kind[number]:
        episodes.told[number] = member[first] + 1.0
    return int(columns[first])
