"""Decodes the records of one partition, and sets aside those that its decoder fails at.

Guarantee: `decode` never raises. Records at which decoding, or the making of derived columns, raises anything
are read again in halves, down to the one at fault, which becomes a dead letter; all others count as if it had
not been there. Which record that is depends on the record alone, so that results stay a function of the log.
Cost: nothing where nothing raises; for a record at fault the batch is decoded about twice more.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from streams.events.batch import Dead, Decoder, EventBatch, Records, Strings
from streams.partials.points import Running, running_rows
from streams.plan.plan import SourcePlan

logger = logging.getLogger(__name__)

REASON = "decoder_error"
"""Reason of the dead letter of a record at which the decoder failed: a defect of ours, not of the record."""

_told: set[tuple[str, str, int]] = set()
"""Defects that this process has logged: type of the exception, file and line."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Records and what became of them.

    batch   : with derived columns and without running totals
    running : which rows were running totals; None if none were
    """

    records: Records
    batch: EventBatch
    running: Running | None


class PartitionDecoder:
    """The decoder of one source partition.

    make : gives a decoder; called again after a failure, since what a decoder remembers of earlier records
           may then be half written
    """

    def __init__(self, plan: SourcePlan, make: Callable[[], Decoder]) -> None:
        self._plan = plan
        self._make = make
        self._decoder = make()
        self.error_count = 0
        """Records set aside."""

    def decode(self, records: Records) -> Iterator[Decoded]:
        """Parts of `records` in their order: all of them at once, unless the decoder fails."""
        try:
            decoded = self._decode(records)
        except Exception as error:
            self._decoder = self._make()
            if len(records) > 1:
                middle = len(records) // 2
                yield from self.decode(records.before(middle))
                yield from self.decode(records.since(middle))
                return
            decoded = self._set_aside(records, error)
        yield decoded

    def _decode(self, records: Records) -> Decoded:
        batch = self._decoder.decode(records)
        running: Running | None = None
        if batch.counters is not None:
            batch, running = running_rows(batch, batch.counters)
        if self._plan.derived and len(batch):
            columns = dict(batch.columns)
            for derived in self._plan.derived:
                columns[derived.name] = derived.make(columns, batch.time_ms)
            batch = replace(batch, columns=columns)
        for column in batch.columns.values():
            if isinstance(column, Strings):
                "".join(column.values).encode()  # a lone surrogate would stop whatever names series
        return Decoded(records, batch, running)

    def _set_aside(self, records: Records, error: Exception) -> Decoded:
        kind = type(error).__name__
        self.error_count += 1
        self._log(records, error)
        nothing = np.empty(0, np.int64)
        dead = Dead(0, REASON, f"{kind}: {error}")
        return Decoded(records, EventBatch(nothing, nothing, {}, dead=[dead]), None)

    def _log(self, records: Records, error: Exception) -> None:
        """The defect with its trace, once for each type and place."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        key = (type(error).__name__, place.filename, place.lineno or 0)
        if key in _told:
            return
        _told.add(key)
        logger.error(
            "The decoder %s failed at a record of %s (offset %d), which is set aside as a dead letter "
            "(%s). This is a defect of the decoder; it is logged once. Please report it with the record.",
            self._plan.format,
            self._plan.topic,
            int(records.offsets[0]),
            REASON,
            exc_info=error,
        )
