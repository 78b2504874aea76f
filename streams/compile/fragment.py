"""What an entry under `detectors` adds to its source: columns to make, rollups that count, and who judges."""

from __future__ import annotations

from dataclasses import dataclass

from streams.language.yaml.use import Use
from streams.plan.plan import MonitorPlan
from streams.plan.rollup import Derived, Rollup


@dataclass(frozen=True, slots=True)
class PlanFragment:
    """What one entry adds.

    derived : columns to make before rollups count, in this order
    uses    : the columns it reads, with their places
    """

    derived: tuple[Derived, ...]
    rollups: tuple[Rollup, ...]
    monitors: tuple[MonitorPlan, ...]
    uses: tuple[Use, ...]
