"""The labels that hold, whatever order their topic has them in."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from detectors.feedback.labels import Label, current_labels
from streams.worker.label_feed import LabelFeed

LABELS = st.builds(
    Label,
    st.just("traffic"),
    st.just(("a",)),
    st.sampled_from(["real", "noise"]),
    from_ms=st.integers(1, 3),
    to_ms=st.just(5),
    at_ms=st.integers(0, 3),
    removed=st.booleans(),
)


@given(st.lists(LABELS, max_size=12), st.integers(0, 12))
def test_what_holds_is_what_all_labels_say(labels: list[Label], caught_up_after: int) -> None:
    told: list[Sequence[Label]] = []
    feed = LabelFeed(told.append)
    for number, label in enumerate(labels):
        if number == caught_up_after:
            feed.caught_up()
        feed.handle(label.key, label.to_bytes())
    if caught_up_after >= len(labels):
        assert not told, "nothing is told before all has been read"
        feed.caught_up()
    assert list(told[-1]) == list(current_labels(labels))


def test_what_is_no_label_is_counted_and_left_out() -> None:
    told: list[Sequence[Label]] = []
    feed = LabelFeed(told.append)
    feed.caught_up()
    feed.handle(b"x", b"{}")
    feed.handle(None, None)
    good = Label("traffic", ("a",), "real", anomaly="0123456789abcdef")
    feed.handle(good.key, good.to_bytes())
    assert feed.refused == {"unreadable": 1}
    assert list(told[-1]) == [good]
    assert feed.precision()["traffic"].ratio == 1.0
    feed.handle(good.key, None)
    assert list(told[-1]) == []
