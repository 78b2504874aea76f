"""Where partitions are read from after an assignment."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.starts import Note, Start, choose_starts

OLD, NEW = "0a" * 16, "0b" * 16


def tp(number: int) -> TopicPartition:
    return TopicPartition("requests", number)


def committed(offset: int, note: Note | str) -> OffsetAndMetadata:
    return OffsetAndMetadata(offset, note if isinstance(note, str) else note.to_text())


def start(number: int, commits: dict[int, OffsetAndMetadata], **changed: Any) -> Start:
    settings: dict[str, Any] = {
        "topic_id": OLD,
        "partition_count": 3,
        "known": False,
        "first_start": "latest",
        **changed,
    }
    chosen, _ = choose_starts(
        "requests",
        [tp(number)],
        {tp(partition): at for partition, at in commits.items()},
        {tp(number): (10, 90)},
        **settings,
    )
    return chosen[tp(number)]


@given(
    st.builds(Note, st.sampled_from(["", OLD]), st.integers(0, 1 << 20), st.integers(0, (1 << 63) - 1)),
)
def test_a_note_is_read_back(note: Note) -> None:
    assert Note.of_text(note.to_text()) == note


@pytest.mark.parametrize("text", [None, "", "1 a b c", "2 - 1 1", "1 - 1", "1 - -1 5", "consumer-1"])
def test_what_is_no_note_of_ours_is_none(text: str | None) -> None:
    assert Note.of_text(text) is None


def test_a_first_start_begins_where_the_configuration_says() -> None:
    assert start(1, {}) == Start(90, 90, "first")
    assert start(1, {}, first_start="earliest") == Start(10, 10, "first")


def test_what_was_committed_goes_on_and_tells_how_far_was_read() -> None:
    assert start(0, {0: committed(40, Note(OLD, 1, 55))}) == Start(40, 55, "committed")
    assert start(0, {0: committed(40, "")}) == Start(40, 40, "committed")


def test_a_commit_for_the_topic_before_does_not_count() -> None:
    assert start(0, {0: committed(40, Note(OLD, 1, 55))}, topic_id=NEW) == Start(10, 10, "anew")
    assert start(1, {0: committed(40, Note(OLD, 1, 55))}, topic_id=NEW) == Start(10, 10, "anew")


def test_a_topic_that_has_lost_its_commits_was_deleted() -> None:
    """The broker forgets them with the topic; a worker that has read it knows better."""
    assert start(0, {}, known=True) == Start(10, 10, "anew")


@pytest.mark.parametrize("topic_id", ["", OLD])
def test_without_ids_an_offset_beyond_the_end_tells(topic_id: str) -> None:
    note = Note("" if topic_id else OLD, 1, 100)
    assert start(0, {0: committed(100, note)}, topic_id=topic_id) == Start(10, 10, "anew")
    same = {0: committed(100, Note(OLD, 1, 100))}
    assert start(0, same, topic_id=OLD).reason == "committed"  # an end that is late by a moment


def test_a_partition_that_the_first_start_did_not_know_is_read_from_its_beginning() -> None:
    assert start(2, {0: committed(40, Note(OLD, 2, 55))}) == Start(10, 10, "added")
    assert start(1, {0: committed(40, Note(OLD, 2, 55))}) == Start(90, 90, "first")


def test_the_number_of_partitions_at_the_first_start_is_kept() -> None:
    commits = {tp(0): committed(40, Note(OLD, 2, 55)), tp(2): committed(5, Note(OLD, 2, 5))}
    bounds = {tp(1): (0, 9)}
    _, first = choose_starts(
        "requests",
        [tp(1)],
        commits,
        bounds,
        topic_id=OLD,
        partition_count=3,
        known=True,
        first_start="latest",
    )
    assert first == 2
