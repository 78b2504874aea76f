"""`SeriesIndex` against naive names: missing labels, numbers, dense and sparse pairs, golden keys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.events.batch import Strings
from streams.partials import series as series_module
from streams.partials.series import (
    OTHER,
    SeriesIndex,
    SeriesIndexes,
    decode_labels,
    encode_labels,
    format_number,
    series_hash,
)


def text_column(values: list[str | None]) -> Strings:
    """A column with a dictionary that also holds an entry which no row uses."""
    dictionary = ["not used", *dict.fromkeys(v for v in values if v is not None)]
    codes = [-1 if v is None else dictionary.index(v, 1) for v in values]
    return Strings(np.array(codes, dtype=np.int32), dictionary)


label = st.one_of(st.none(), st.sampled_from(["", "a", "b", "é", OTHER]), st.integers(0, 40).map(str))
rows = st.lists(st.tuples(label, label, st.one_of(st.just(float("nan")), st.integers(0, 3))), max_size=20)


@settings(max_examples=100)
@given(st.lists(rows, max_size=6), st.sampled_from([1, 600, 1 << 22]))
def test_each_row_has_the_series_of_its_labels_however_pairs_are_kept(batches, dense_pairs_max):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series_module, "_DENSE_PAIRS_MAX", dense_pairs_max)
        index = SeriesIndex("r", ("one", "two", "three", "not there"))
        known: dict[tuple[str, ...], int] = {}
        for batch in batches:
            one, two, three = zip(*batch, strict=True) if batch else ((), (), ())
            columns = {
                "one": text_column(list(one)),
                "two": text_column(list(two)),
                "three": np.array(three, dtype=np.float64),
            }
            numbers = index.numbers(columns, len(batch)).tolist()
            for row, number in zip(batch, numbers, strict=True):
                labels = (row[0] or "", row[1] or "", "" if row[2] != row[2] else str(row[2]), "")
                assert known.setdefault(labels, number) == number
                assert decode_labels(index.names[number]) == labels
                assert int(index.hashes[number]) == series_hash("r", encode_labels(labels))
        assert len(set(index.hashes.tolist())) == len(index.hashes) == len(index)


@settings(max_examples=100)
@given(st.lists(st.tuples(rows, st.sets(st.integers(0, 20))), max_size=6), st.sampled_from([1, 1 << 22]))
def test_what_is_kept_is_numbered_in_order_and_all_else_is_new(batches, dense_pairs_max):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series_module, "_DENSE_PAIRS_MAX", dense_pairs_max)
        index = SeriesIndex("r", ("one", "two", "three"))
        for batch, wanted in batches:
            one, two, three = zip(*batch, strict=True) if batch else ((), (), ())
            columns = {
                "one": text_column(list(one)),
                "two": text_column(list(two)),
                "three": np.array(three, dtype=np.float64),
            }
            before = list(index.names)
            for row, number in zip(batch, index.numbers(columns, len(batch)).tolist(), strict=True):
                labels = (row[0] or "", row[1] or "", "" if row[2] != row[2] else str(row[2]))
                assert decode_labels(index.names[number]) == labels
            assert index.names[: len(before)] == before
            assert len(set(index.names)) == len(index)
            assert decode_labels(index.names[index.other()]) == (OTHER,) * 3
            kept = np.array([number for number in range(len(index)) if number in wanted], dtype=np.int64)
            expected = [index.names[number] for number in kept.tolist()]
            index.keep(kept)
            assert index.names == expected
            assert index.hashes.tolist() == [series_hash("r", name) for name in expected]


def test_a_pair_first_met_in_the_sorted_array_keeps_its_number(monkeypatch):
    monkeypatch.setattr(series_module, "_DENSE_PAIRS_MAX", 256)
    index = SeriesIndex("r", ("a", "b"))
    everything = list(map(str, range(40)))
    for value in everything:  # 16 of them fit into the dense table
        index.numbers({"a": text_column([value]), "b": text_column(["0"])}, 1)
        index.numbers({"a": text_column(["0"]), "b": text_column([value])}, 1)
    first = index.numbers({"a": text_column(["1", "39"]), "b": text_column(["1", "39"])}, 2)[0]
    assert index.numbers({"a": text_column(["1"]), "b": text_column(["1"])}, 1)[0] == first


def test_what_no_row_uses_gets_no_number():
    index = SeriesIndex("r", ("a",))
    index.numbers({"a": Strings(np.array([1], np.int32), ["no", "yes", "no"])}, 1)
    assert [decode_labels(name) for name in index.names] == [("yes",)]


def test_numbers_as_labels_read_like_whole_numbers_where_they_are():
    values = [200.0, -0.0, 0.5, 1e15, 999_999_999_999_999.0, float("nan"), float("inf"), -3.0]
    assert [format_number(v) for v in values] == [
        "200",
        "0",
        "0.5",
        "1000000000000000.0",
        "999999999999999",
        "",
        "inf",
        "-3",
    ]


def test_a_rollup_without_labels_has_one_series():
    index = SeriesIndex("r", ())
    assert index.numbers({}, 3).tolist() == [0, 0, 0]
    assert decode_labels(index.names[0]) == ()
    assert index.other() == 0


def test_an_empty_batch_makes_no_series():
    index = SeriesIndex("r", ("a", "b"))
    assert index.numbers({"a": text_column([]), "b": np.zeros(0)}, 0).tolist() == []
    assert len(index) == 0


def test_the_series_beyond_the_limit_has_the_label_other_everywhere():
    index = SeriesIndex("r", ("a", "b"))
    assert decode_labels(index.names[index.other()]) == (OTHER, OTHER)
    columns = {"a": text_column([OTHER]), "b": text_column([OTHER])}
    assert index.numbers(columns, 1)[0] == index.other()


def test_indexes_are_shared_by_name():
    indexes = SeriesIndexes()
    assert indexes.of("r", ("a",)) is indexes.of("r", ("a",))
    assert indexes.of("r", ("a",)) is not indexes.of("q", ("a",))


@pytest.mark.parametrize(
    ("rollup", "labels", "key"),
    [
        ("requests", ("checkout", "200"), 7_892_367_524_495_867_607),
        ("requests", ("", ""), 9_754_323_709_882_220_347),
        ("slo:checkout", (), 15_793_931_371_993_365_748),
        ("requests", ("Zürich", "💡"), 12_204_542_487_612_382_328),
    ],
)
def test_keys_are_the_same_on_every_machine(rollup, labels, key):
    assert series_hash(rollup, encode_labels(labels)) == key
