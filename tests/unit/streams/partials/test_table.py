"""Tables of series: bytes and back, cut and split, and bytes that are none of ours."""

from __future__ import annotations

import json
import struct
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streams.partials.frame import ExemplarRow, Frame, decode_frame, encode_frame
from streams.partials.payload import Payload
from streams.partials.points import PointTable, encode_points, point_type, split_points
from streams.partials.series import encode_labels
from streams.partials.table import (
    TABLE_BYTES_MAX,
    Table,
    encode_tables,
    pack,
    split_by_destination,
    split_tables,
)
from streams.window.blocks import SLOTS_KEPT, Block, decode_blocks, encode_block
from tests.unit.streams.partials.payloads import ragged, rows_of

COUNTERS = 2


@st.composite
def tables(draw, rows_max=12) -> Table:
    """Any table that a flush may make, of up to 5 series."""
    series_count = draw(st.integers(1, 5))
    cells = draw(
        st.lists(
            st.tuples(
                st.integers(0, series_count - 1),
                st.integers(0, 1 << 29),
                st.lists(st.integers(-(2**40), 2**40), min_size=COUNTERS, max_size=COUNTERS),
                st.dictionaries(st.integers(0, 8191), st.integers(1, 2**40), max_size=4),
                st.dictionaries(st.integers(0, 8191), st.integers(1, 55), max_size=4),
            ),
            max_size=rows_max,
        )
    )
    return table_of(series_count, cells)


def table_of(series_count: int, cells) -> Table:
    """cells : (series, bucket, counts, bins, registers) each."""

    def column(values, dtype=np.int64):
        return np.array(list(values), dtype=dtype)

    return Table(
        rollup="r",
        hashes=column((2**63 + 7 * s for s in range(series_count)), np.uint64),
        names=[encode_labels([f"label {s}" * s]) for s in range(series_count)],
        series=column(c[0] for c in cells),
        bucket=column(c[1] for c in cells),
        payload=Payload(
            counts=column(n for c in cells for n in c[2]).reshape(len(cells), COUNTERS),
            bins=ragged([c[3] for c in cells], np.int64),
            registers=ragged([c[4] for c in cells], np.uint8),
        ),
    )


def content(table: Table) -> Counter:
    """The rows of a table by what they say, whatever order and numbering."""
    return Counter(
        (int(table.hashes[series]), table.names[series], bucket, *row)
        for series, bucket, row in zip(
            table.series.tolist(), table.bucket.tolist(), rows_of(table.payload), strict=True
        )
    )


def same(one: Table, two: Table) -> bool:
    return (
        one.rollup == two.rollup
        and all(
            np.array_equal(getattr(one, name), getattr(two, name)) for name in ("hashes", "series", "bucket")
        )
        and rows_of(one.payload) == rows_of(two.payload)
    )


@settings(max_examples=60)
@given(st.lists(tables(), max_size=3), st.booleans(), st.one_of(st.none(), st.integers(-(1 << 62), 1 << 40)))
def test_a_frame_comes_back_as_it_was(some, idle, watermark):
    exemplars = [ExemplarRow("r", 2**64 - 1, "4bf92f", 0.25, 5, True)] if idle else []
    frame = Frame("source", 3, 77, watermark, 42, idle, some, exemplars)
    back = decode_frame(encode_frame(frame))
    assert (back.source, back.partition, back.offset) == ("source", 3, 77)
    assert (back.watermark, back.newest, back.idle, back.exemplars) == (watermark, 42, idle, exemplars)
    assert len(back.tables) == len(some)
    assert all(map(same, some, back.tables))
    assert [table.names for table in back.tables] == [table.names for table in some]


@settings(max_examples=60)
@given(tables(), st.sets(st.integers(0, 11)))
def test_take_keeps_the_rows_asked_for_and_just_their_series(table, wanted):
    rows = np.array(sorted(row for row in wanted if row < len(table)), dtype=np.int64)
    taken = table.select(rows)
    assert content(taken) == sum(
        (content(table.select(rows[i : i + 1])) for i in range(len(rows))), Counter()
    )
    assert len(taken.hashes) == len(taken.names) == len(set(table.series[rows].tolist()))
    assert content(table.select(np.arange(len(table)))) == content(table)


@settings(max_examples=60)
@given(tables(), st.integers(1, 4))
def test_each_row_goes_to_the_home_of_its_series(table, destination_count):
    destination = (table.hashes % np.uint64(destination_count)).astype(np.int64)
    pieces = split_by_destination(table, destination, destination_count)
    assert len(pieces) == destination_count
    assert sum((content(piece) for piece in pieces if piece is not None), Counter()) == content(table)
    for number, piece in enumerate(pieces):
        if piece is not None:
            assert (piece.hashes[piece.series] % np.uint64(destination_count) == number).all()
            assert destination_count == 1 or len(piece) > 0
            assert np.array_equal(piece.bucket, table.bucket[destination[table.series] == number])


@settings(max_examples=60)
@given(st.lists(tables(), max_size=4), st.integers(1, 2000))
def test_tables_split_into_groups_that_fit_and_lose_nothing(some, bytes_max):
    groups = list(split_tables(some, bytes_max))
    found = sum((content(table) for group in groups for table in group), Counter())
    assert found == sum(map(content, some), Counter())
    for group in groups:
        assert group
        assert all(len(table) for table in group)
        if sum(map(len, group)) > 1:
            assert sum(table.size() for table in group) <= bytes_max


@settings(max_examples=60)
@given(tables())
def test_a_table_takes_no_more_bytes_than_its_size(table):
    _, parts = encode_tables([table])
    assert sum(map(len, parts)) <= table.size()
    assert table.size() <= int(table.row_sizes().sum()) + 100 * len(table.hashes)


def test_rows_of_very_different_size_still_fit_into_records():
    heavy = [(0, b, [1, 1], dict.fromkeys(range(4000), 1 << 20), {}) for b in range(60)]
    light = [(1, 100 + b, [1, 1], {}, {}) for b in range(3000)]
    table = table_of(2, heavy + light)
    groups = list(split_tables([table]))
    assert len(groups) > 1
    for group in groups:
        assert sum(map(len, encode_tables(group)[1])) <= TABLE_BYTES_MAX
    assert sum((content(piece) for group in groups for piece in group), Counter()) == content(table)


@settings(max_examples=40)
@given(st.lists(tables(), max_size=2), st.integers(0, 2), st.integers(0, 10**6), st.randoms())
def test_blocks_come_back_from_the_latest_record_of_each_key(some, level, slot, random):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streams.window.blocks.split_tables", lambda parts: split_tables(parts, 150))
        stored = {}
        for number in (slot, slot + 1, slot + SLOTS_KEPT[level]):
            stored.update(encode_block(Block("s", level, number, some, b"[%d]" % number)))
    values = list(stored.values())
    random.shuffle(values)
    blocks = decode_blocks(values)
    assert [(b.source, b.level, b.slot, b.state) for b in blocks] == [
        ("s", level, number, b"[%d]" % number) for number in (slot + 1, slot + SLOTS_KEPT[level])
    ]
    for block in blocks:
        assert sum(map(content, block.tables), Counter()) == sum(map(content, some), Counter())


def chunked(bytes_max: int, rows: int) -> list[tuple[bytes, bytes]]:
    """Records of the block of slot 7."""
    table = table_of(1, [(0, b, [b, b], {}, {}) for b in range(rows)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streams.window.blocks.split_tables", lambda parts: split_tables(parts, bytes_max))
        return encode_block(Block("s", 0, 7, [table]))


def test_a_block_of_which_a_chunk_is_missing_is_none():
    records = chunked(200, 20)
    assert len(records) > 2
    for missing in range(len(records)):
        assert decode_blocks(value for n, (_, value) in enumerate(records) if n != missing) == []


def test_chunks_left_of_a_longer_write_of_the_slot_are_ignored():
    longer, shorter = chunked(200, 20), chunked(10_000, 20)
    stored = {**dict(longer), **dict(shorter)}
    for values in (list(stored.values()), list(stored.values())[::-1]):
        (block,) = decode_blocks(values)
        assert sum(map(len, block.tables)) == 20


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_bytes_of_others_are_refused(value):
    with pytest.raises(ValueError, match="not a record of streamgauge"):
        decode_frame(value)
    with pytest.raises(ValueError, match="not a record of streamgauge"):
        decode_blocks([value])


@settings(max_examples=200)
@given(tables(), st.data())
def test_a_changed_head_or_body_is_read_or_refused_but_breaks_nothing(table, data):
    heads, parts = encode_tables([table])
    rollup, columns, counters = heads[0]
    match data.draw(st.sampled_from(["type", "length", "counters", "missing", "body"])):
        case "type":
            at = data.draw(st.integers(0, 11))
            kind = data.draw(
                st.sampled_from(["|O", "<f8", "nonsense", "", "<M8[s]", "|u1", "<i8", "V0", ">u2"])
            )
            columns[at] = (kind, columns[at][1])
        case "length":
            at = data.draw(st.integers(0, 11))
            columns[at] = (columns[at][0], data.draw(st.integers(-5, 40)))
        case "counters":
            counters = data.draw(st.integers(-3, 5))
        case "missing":
            columns = columns[: data.draw(st.integers(0, 11))]
        case "body":
            body = bytearray(b"".join(parts))
            assume(body)
            for _ in range(data.draw(st.integers(1, 5))):
                body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
            parts = [bytes(body)]
    head = [1, "s", 0, 5, None, 3, False, [(rollup, columns, counters)], [], []]
    try:
        (back,) = decode_frame(pack(head, parts)).tables
    except ValueError:
        return
    # what is let through can be worked with
    back.select(np.arange(len(back)))
    assert len(back.names) == len(back.hashes)
    assert len(encode_frame(Frame("s", 0, 5, None, 3, False, [back]))) > 0


def points_of(count: int) -> PointTable:
    rows = np.zeros(count, dtype=point_type(2))
    rows["series"] = np.arange(count) % 50
    rows["identity"] = np.arange(count, dtype=np.uint64) + np.uint64(2**63)
    rows["value"] = np.arange(count) / 7
    names = [encode_labels([f"{s}" * 200]) for s in range(50)]
    return PointTable("r", np.arange(50, dtype=np.uint64), names, rows)


def test_points_come_back_cut_into_records():
    table = points_of(20_000)
    pieces = list(split_points(table))
    assert len(pieces) > 1
    back = []
    for piece in pieces:
        value = encode_frame(Frame("s", 0, 5, None, 3, False, points=[piece]))
        (found,) = decode_frame(value).points
        assert found.names == [found.names[s] for s in range(len(found.hashes))]
        back += [(found.names[r["series"]], r["identity"], r["value"]) for r in found.rows]
        assert sum(map(len, encode_points([piece])[1])) <= TABLE_BYTES_MAX
    assert back == [(table.names[r["series"]], r["identity"], r["value"]) for r in table.rows]


@pytest.mark.parametrize("at", range(11))
@pytest.mark.parametrize("length", [0, 1, 49, 51])
def test_points_whose_columns_do_not_fit_together_are_refused(at, length):
    ((rollup, columns, measures),), parts = encode_points([points_of(60)])
    columns[at] = (columns[at][0], length)
    try:
        (found,) = decode_frame(
            pack([1, "s", 0, 5, None, 3, False, [], [], [(rollup, columns, measures)]], parts)
        ).points
    except ValueError:
        return
    assert at == 2, "only names may be cut differently and still look like points"
    assert len(found) == 60


def test_a_frame_that_claims_to_be_huge_is_refused():
    huge = b"\x28\xb5\x2f\xfd" + bytes([0b11100000]) + struct.pack("<Q", 1 << 50) + b"\x01\x00\x00"
    with pytest.raises(ValueError, match="not a record of streamgauge"):
        decode_frame(huge)


def test_another_format_is_named():
    with pytest.raises(ValueError, match="format 2, this version reads format 1"):
        decode_frame(pack([2, "s", 0, 5, None, 3, False, [], [], []], []))
    with pytest.raises(ValueError, match="format 2, this version reads format 1"):
        decode_blocks([pack([2, "s", 0, 5, 0, 1, 0, b"[]", [], []], [])])


def test_alerts_of_a_flood_are_cut_into_records_too():
    rng = np.random.default_rng(1)
    alerts = json.dumps(rng.integers(0, 2**62, 150_000).tolist()).encode()
    block = Block("s", 0, 7, [], alerts)
    records = encode_block(block)
    assert len(records) > 1
    assert max(len(value) for _, value in records) < 1_000_000
    (back,) = decode_blocks([value for _, value in reversed(records)])
    assert back.state == alerts


def test_chunks_of_two_writings_are_no_block():
    """A worker that ends half-way through writing a slot again leaves chunks of both."""
    rng = np.random.default_rng(1)
    alerts = [json.dumps(rng.integers(0, 2**62, count).tolist()).encode() for count in (90_000, 90_100)]
    old, new = (encode_block(Block("s", 0, 7, [], text)) for text in alerts)
    assert len(old) == len(new) > 1
    assert decode_blocks([new[0][1], *(value for _, value in old[1:])]) == []
    (block,) = decode_blocks([value for _, value in new])
    assert block.state == alerts[1]
