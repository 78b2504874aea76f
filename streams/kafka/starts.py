"""Where the partitions of an assignment are read from: a pure rule over what was committed and what there is.

- What was committed for this topic goes on from there.
- A topic that was deleted and made anew has nothing of what was committed for its predecessor, so it is read
  from its beginning; so is one whose log ends below the committed offset, if the broker gives no ids.
- A partition that a topic was given later is read from its beginning, since all that it holds is new.
- Only a topic that is read for the first time begins where the configuration says.

A note is committed beside each offset. A broker that does not keep it only makes the rule coarser.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from aiokafka.structs import OffsetAndMetadata, TopicPartition

__all__ = ["Bounds", "Note", "Start", "choose_starts"]

Bounds: TypeAlias = Mapping[TopicPartition, tuple[int, int]]
"""First offset and end of each partition's log."""

_VERSION = "1"


class Start(NamedTuple):
    """Where a partition is read from.

    offset : first record to read
    read   : below it all was read before, and what is deleted there is not lost
    reason : why it is not the committed offset
    """

    offset: int
    read: int
    reason: Literal["committed", "anew", "added", "first"]


@dataclass(frozen=True, slots=True)
class Note:
    """What is committed beside an offset.

    topic_id : of the topic that the offset belongs to, in hex; empty if the broker gives none
    first    : partitions that the topic had when the group read it first
    read     : offset below which the commit's state includes everything
    """

    topic_id: str
    first: int
    read: int

    def to_text(self) -> str:
        return f"{_VERSION} {self.topic_id or '-'} {self.first} {self.read}"

    @classmethod
    def of_text(cls, text: str | None) -> Note | None:
        """The note, or None where there is none or somebody else's."""
        parts = (text or "").split(" ")
        if len(parts) != 4 or parts[0] != _VERSION or not (parts[2].isdecimal() and parts[3].isdecimal()):
            return None
        return cls("" if parts[1] == "-" else parts[1], int(parts[2]), int(parts[3]))


def choose_starts(
    topic: str,
    assigned: Collection[TopicPartition],
    committed: Mapping[TopicPartition, OffsetAndMetadata],
    bounds: Bounds,
    *,
    topic_id: str,
    partition_count: int,
    known: bool,
    first_start: Literal["earliest", "latest"],
) -> tuple[dict[TopicPartition, Start], int]:
    """Where the assigned partitions of one topic are read from, and `Note.first` of commits to come.

    committed : of all partitions of the topic, as far as there is something
    bounds    : of the assigned partitions
    known     : whether this process has read the topic before
    """
    notes = {tp: Note.of_text(at.metadata) for tp, at in committed.items()}
    ours = {tp for tp in committed if not _is_of_another(notes[tp], topic_id)}
    anew = bool(committed.keys() - ours) or (known and not committed)
    counts = [note.first for tp in ours if (note := notes[tp]) is not None]
    first = min(counts, default=0 if anew or ours else partition_count)
    starts: dict[TopicPartition, Start] = {}
    for tp in assigned:
        begin, end = bounds[tp]
        if tp in ours:
            at, note = committed[tp].offset, notes[tp]
            if at > end and (note is None or not note.topic_id or not topic_id):
                starts[tp] = Start(begin, begin, "anew")
            else:
                starts[tp] = Start(at, max(at, note.read if note else at), "committed")
        elif anew:
            starts[tp] = Start(begin, begin, "anew")
        elif tp.partition >= first:
            starts[tp] = Start(begin, begin, "added")
        else:
            at = begin if first_start == "earliest" else end
            starts[tp] = Start(at, at, "first")
    return starts, first


def _is_of_another(note: Note | None, topic_id: str) -> bool:
    return note is not None and bool(note.topic_id) and bool(topic_id) and note.topic_id != topic_id
