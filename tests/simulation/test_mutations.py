"""The simulation finds a protocol that is wrong: each rule broken in turn, some schedule shows it.

Schedules are those of `test_protocol`, so that a rule whose breach they would not notice is told here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from streams.aggregate import partition
from streams.aggregate.decoding import Decoded, PartitionDecoder
from streams.aggregate.partition import Flush, PartitionAggregate
from streams.events.batch import Records
from streams.judge.monitors import Monitors
from streams.judge.state_codec import encode_state
from streams.kafka.transport import Admission, Position
from streams.partials.cells import sum_by_key
from streams.partials.payload import Payload
from streams.plan.plan import BUCKET_MS, NEVER
from streams.window import open_buckets as held
from streams.window.open_buckets import Piece
from streams.window.rollup_window import RollupWindow
from streams.window.source_window import SourceWindow
from tests.simulation import test_protocol as protocol
from tests.simulation.test_protocol import LOADS, SCHEDULES, Stage1, Stage2, small_records, wrong

__all__ = ["small_records"]  # a fixture that every test of the module uses

Break = Callable[[pytest.MonkeyPatch], None]


def watermark_comes_first(patch: pytest.MonkeyPatch) -> None:
    """The first frame of a flush carries the watermark."""
    encode = partition.encode_frame

    def frames(self: PartitionAggregate, *args: Any, **options: Any) -> list[bytes]:
        made: list[Any] = []
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(partition, "encode_frame", lambda frame: made.append(frame) or b"")
            list(original(self, *args, **options))
        watermark = made[-1].watermark if made else None
        return [encode(replace(f, watermark=None if n else watermark)) for n, f in enumerate(made)]

    original = PartitionAggregate._frames
    patch.setattr(PartitionAggregate, "_frames", frames)


def offset_is_committed_before_frames_are_durable(patch: pytest.MonkeyPatch) -> None:
    class Hasty(Stage1):
        def flush(self) -> None:
            super().flush()
            if self.aggregate.in_flight is not None:
                self.commit = self.aggregate.in_flight.commit

    patch.setattr(protocol, "Stage1", Hasty)


def all_that_was_read_is_committed(patch: pytest.MonkeyPatch) -> None:
    flush = PartitionAggregate.flush

    def greedy(self: PartitionAggregate, *args: Any, **options: Any) -> Flush | None:
        flushed = flush(self, *args, **options)
        if flushed is not None:
            flushed = self.in_flight = replace(flushed, commit=flushed.offset)
        return flushed

    patch.setattr(PartitionAggregate, "flush", greedy)


def a_flush_that_failed_counts_as_sent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PartitionAggregate, "abandon", PartitionAggregate.acknowledge)


def rows_are_added(patch: pytest.MonkeyPatch) -> None:
    def added(pieces: Sequence[Piece]) -> Piece:
        series, counts = sum_by_key(
            np.concatenate([piece.series for piece in pieces]),
            np.concatenate([piece.payload.counts for piece in pieces]),
        )
        return Piece(series, np.zeros_like(series), Payload.of_counts(counts))

    patch.setattr(held, "_latest", added)


def the_row_that_came_last_stands(patch: pytest.MonkeyPatch) -> None:
    latest = held._latest
    patch.setattr(
        held, "_latest", lambda pieces: latest([replace(p, offset=np.zeros_like(p.offset)) for p in pieces])
    )


def lateness_is_told_by_the_batch(patch: pytest.MonkeyPatch) -> None:
    """Events are late against the newest of their batch, not against what came before them."""

    class Maximum:
        def __call__(self, *args: Any, **options: Any) -> Any:
            return np.maximum(*args, **options)

        def accumulate(self, times: Any) -> Any:
            return np.full_like(times, times.max())

    class Numpy:
        maximum = Maximum()

        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

    patch.setattr(partition, "np", Numpy())


def late_events_count_in_their_own_bucket(patch: pytest.MonkeyPatch) -> None:
    count = PartitionAggregate._count_outcomes

    def own(self: PartitionAggregate, batch: Any, bucket: Any, before: Any, *masks: Any) -> None:
        count(self, batch, bucket, bucket * BUCKET_MS, *masks)

    patch.setattr(PartitionAggregate, "_count_outcomes", own)


def dead_records_from_before_any_event_are_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PartitionAggregate, "_place_deferred", lambda *_: None)


def gaps_are_overlooked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Position, "admit", lambda *_: Admission.COUNT)


def rows_of_final_buckets_count(patch: pytest.MonkeyPatch) -> None:
    accept = RollupWindow.accept
    patch.setattr(
        RollupWindow, "accept", lambda self, p, offset, table, _: accept(self, p, offset, table, NEVER)
    )


def one_watermark_is_enough_to_seal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        SourceWindow,
        "final_below",
        lambda self: max(self.sealed, *(self.watermarks.get(p, NEVER) for p in range(self.partitions))),
    )


def what_is_sealed_is_forgotten_by_a_restart(patch: pytest.MonkeyPatch) -> None:
    load = SourceWindow.load

    def forgetful(self: SourceWindow, blocks: Any) -> None:
        load(self, blocks)
        self.sealed = NEVER
        self._last_bucket = None
        for window in self.rollups.values():
            window.rings.end = None

    patch.setattr(SourceWindow, "load", forgetful)


def partials_are_committed_as_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SourceWindow, "needed_from", lambda self, below, at: at)


def partials_are_committed_before_blocks_are_durable(patch: pytest.MonkeyPatch) -> None:
    class Hasty(Stage2):
        def seal(self) -> None:
            waiting = bool(self.steps)
            super().seal()
            if self.steps and not waiting:
                self.steps.insert(0, self.steps.pop())

    patch.setattr(protocol, "Stage2", Hasty)


def alerts_are_announced_after_their_block(patch: pytest.MonkeyPatch) -> None:
    class Late(Stage2):
        def seal(self) -> None:
            waiting = bool(self.steps)
            super().seal()
            if self.steps and not waiting:
                *others, confirm = self.steps
                alerts = [step for step in others if len(step.__defaults__ or ()) == 1]
                self.steps = [*(step for step in others if step not in alerts), *alerts, confirm]

    patch.setattr(protocol, "Stage2", Late)


def half_a_block_is_taken_for_a_whole(patch: pytest.MonkeyPatch) -> None:
    decode = protocol.decode_blocks

    def lenient(values: Any) -> Any:
        found = list(values)
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr("streams.window.blocks.range", lambda *_: [0], raising=False)
            return decode(found)

    patch.setattr(protocol, "decode_blocks", lenient)


def detectors_forget_in_a_restart(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Monitors, "load", lambda self, blocks, latest: None)


def detectors_are_not_shown_again_what_came_last(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Monitors, "_show_again", lambda self, block: None)


def panels_are_stored_with_other_series(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("streams.judge.monitors.encode_state", lambda state: encode_state(_reversed(state)))


def _reversed(state: dict[str, Any]) -> dict[str, Any]:
    """Panels with their values in another order than their series."""
    turned = {}
    for name, shown in state.items():
        if isinstance(shown, dict) and "panel" in shown:
            panel = {**shown["panel"], "values": shown["panel"]["values"][:, ::-1]}
            shown = {**shown, "panel": panel}
        turned[name] = shown
    return turned


def a_batch_is_dead_for_one_record(patch: pytest.MonkeyPatch) -> None:
    decode = PartitionDecoder.decode

    def careless(self: PartitionDecoder, records: Records) -> Iterator[Decoded]:
        parts = list(decode(self, records))
        if len(parts) == 1:
            yield parts[0]
            return
        try:
            self._make().decode(records)
        except ValueError as error:
            yield self._set_aside(records, error)

    patch.setattr(PartitionDecoder, "decode", careless)


MUTATIONS: tuple[Break, ...] = (
    watermark_comes_first,
    offset_is_committed_before_frames_are_durable,
    all_that_was_read_is_committed,
    a_flush_that_failed_counts_as_sent,
    rows_are_added,
    the_row_that_came_last_stands,
    lateness_is_told_by_the_batch,
    late_events_count_in_their_own_bucket,
    dead_records_from_before_any_event_are_dropped,
    gaps_are_overlooked,
    rows_of_final_buckets_count,
    one_watermark_is_enough_to_seal,
    what_is_sealed_is_forgotten_by_a_restart,
    partials_are_committed_as_read,
    partials_are_committed_before_blocks_are_durable,
    alerts_are_announced_after_their_block,
    half_a_block_is_taken_for_a_whole,
    detectors_forget_in_a_restart,
    detectors_are_not_shown_again_what_came_last,
    panels_are_stored_with_other_series,
    a_batch_is_dead_for_one_record,
)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_some_schedule_shows_that_a_rule_is_broken(mutation: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation(monkeypatch)
    assert any(wrong(load, seed) for seed in range(SCHEDULES) for load in LOADS)
