"""Which records count for nothing: each is an event, dead, or skipped, and never two of these."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.arrays import Rows
from streams.events.batch import Dead


def skipped_count(record_count: int, record: Rows, dead: Sequence[Dead]) -> int:
    """How many of `record_count` records gave neither an event nor a dead letter.

    record : Rows [E], never descending, the record that each row came from
    """
    with_event = int(np.count_nonzero(np.diff(record))) + 1 if len(record) else 0
    if not dead:
        return record_count - with_event
    return record_count - len(set(np.unique(record).tolist()) | {one.record for one in dead})
