"""Labels are a set with keys: order does not matter, a later word replaces an earlier, removing undoes."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.feedback.labels import (
    VERDICTS,
    Label,
    LabelError,
    Precision,
    current_labels,
    precision_by_detector,
)

NOISE = Label("traffic", ("checkout",), "noise", "spike", from_ms=1_000, to_ms=2_000, by="ann", at_ms=5)

labels = st.builds(
    Label,
    detector=st.sampled_from(["traffic", "logs"]),
    series=st.sampled_from([("a",), ("b",)]),
    verdict=st.sampled_from(VERDICTS),
    kind=st.sampled_from(["", "spike"]),
    from_ms=st.integers(1, 2),
    to_ms=st.just(5),
    at_ms=st.integers(0, 3),
    removed=st.booleans(),
)


def changed(**changes: object) -> Label:
    return msgspec.structs.replace(NOISE, **changes)


@given(labels)
def test_labels_survive_their_bytes(label: Label) -> None:
    assert Label.from_bytes(label.to_bytes()) == label


@given(st.lists(labels), st.randoms())
def test_order_and_repeats_do_not_matter(many: list[Label], order: random.Random) -> None:
    again = many + many[: len(many) // 2]
    order.shuffle(again)
    assert current_labels(again) == current_labels(many)


@given(st.lists(labels))
def test_one_label_holds_for_each_key_and_it_is_the_last(many: list[Label]) -> None:
    held = {label.key: label for label in current_labels(many)}
    assert len(held) == len(current_labels(many))
    for label in many:
        assert label.key not in held or held[label.key].at_ms >= label.at_ms
    removed_last = {one.key for one in many if one.removed and one.at_ms == 3} - {
        one.key for one in many if not one.removed and one.at_ms == 3
    }
    assert not removed_last & set(held)


def test_a_label_is_replaced_and_taken_back() -> None:
    real = changed(verdict="real", at_ms=6)
    assert current_labels([NOISE, real]) == (real,)
    assert current_labels([NOISE, changed(removed=True, at_ms=7)]) == ()
    assert len(current_labels([NOISE, changed(kind="")])) == 2
    by_id = changed(anomaly="f1", from_ms=0, to_ms=0)
    assert current_labels([by_id, changed(anomaly="f1", at_ms=9)])[0].at_ms == 9


def test_precision_counts_real_and_noise() -> None:
    said = [
        NOISE,
        changed(from_ms=1, verdict="real"),
        changed(from_ms=2, verdict="real"),
        changed(from_ms=3, verdict="expected"),
        changed(detector="logs", verdict="expected"),
    ]
    counts = precision_by_detector(said)
    assert counts == {"logs": Precision(expected=1), "traffic": Precision(2, 1, 1)}
    assert counts["traffic"].ratio == pytest.approx(2 / 3)
    assert counts["logs"].ratio is None
    assert precision_by_detector([]) == {}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"detector": ""}, "names its detector"),
        ({"from_ms": 0, "to_ms": 0}, "names an anomaly"),
        ({"to_ms": 1}, "ends before it begins"),
        ({"note": "x" * 1001}, "at most 1,000"),
    ],
)
def test_labels_that_say_nothing_are_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(LabelError, match=text):
        changed(**changes)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        NOISE.to_bytes().replace(b"noise", b"bad"),
        NOISE.to_bytes().replace(b"kind", b"kid"),
        NOISE.to_bytes().replace(b'"to_ms":2000', b'"to_ms":2'),
        b'{"detector":' + b"[" * 100_000,
    ],
)
def test_bytes_that_are_no_label_are_refused(data: bytes) -> None:
    with pytest.raises(LabelError):
        Label.from_bytes(data)
