"""What people say of anomalies: real, noise, or expected.

A label is about a time of a series, or about an anomaly by its id. Labels are facts of a log with a key: a
later one with the same key replaces the earlier, a removed one takes it back. So everything that follows from
labels is a function of the set of labels, and removing one undoes what it did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from detectors.api.detector import SeriesName

__all__ = [
    "VERDICTS",
    "Label",
    "LabelError",
    "Precision",
    "current_labels",
    "later_label",
    "precision_by_detector",
]

Verdict: TypeAlias = Literal["real", "noise", "expected"]

VERDICTS: tuple[Verdict, ...] = ("real", "noise", "expected")
"""Something was wrong; nothing was; something was, but planned, so that it says nothing of the detector."""

TEXT_MAX = 1_000


class LabelError(ValueError):
    """A label that cannot be meant so."""


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One statement of one person.

    detector       : name of the detector, or of the model
    series         : label values of the series, as the detector's verdicts name it
    kind           : of anomaly, such as `spike`; empty for all kinds
    from_ms, to_ms : the time it is about, both included; 0 where `anomaly` tells
    anomaly        : id (fingerprint) of an anomaly
    at_ms          : when it was said
    removed        : the label with this key is taken back
    """

    detector: str
    series: SeriesName
    verdict: Verdict
    kind: str = ""
    from_ms: int = 0
    to_ms: int = 0
    anomaly: str = ""
    by: str = ""
    at_ms: int = 0
    note: str = ""
    removed: bool = False

    def __post_init__(self) -> None:
        if not self.detector:
            raise LabelError("a label names its detector")
        if not (self.anomaly or self.from_ms or self.to_ms):
            raise LabelError("a label names an anomaly by its id, or a time from and to")
        if self.to_ms < self.from_ms:
            raise LabelError("a label's time ends before it begins")
        texts = (self.detector, *self.series, self.kind, self.anomaly, self.by, self.note)
        if max(map(len, texts)) > TEXT_MAX:
            raise LabelError(f"texts of a label have at most {TEXT_MAX:,} characters")

    @property
    def key(self) -> bytes:
        """What it is about: one label holds for each."""
        about = (self.anomaly,) if self.anomaly else (self.from_ms, self.to_ms)
        return msgspec.json.encode([self.detector, self.series, self.kind, *about])

    def to_bytes(self) -> bytes:
        """As JSON, the value of a record or a line of a file."""
        return msgspec.json.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Label:
        """Raises LabelError if it is none."""
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise LabelError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Precision:
    """How a detector's labelled anomalies were judged."""

    real: int = 0
    noise: int = 0
    expected: int = 0

    @property
    def ratio(self) -> float | None:
        """Share of real ones among real and noise; None without either."""
        told = self.real + self.noise
        return self.real / told if told else None


def later_label(known: Label | None, label: Label) -> Label:
    """Of two labels with one key the one that holds, see `current_labels`."""
    if known is None or (known.at_ms, known.to_bytes()) < (label.at_ms, label.to_bytes()):
        return label
    return known


def current_labels(labels: Iterable[Label]) -> tuple[Label, ...]:
    """The labels that hold, whatever order they come in: of each key the last said, unless it is removed.

    Of two said in the same millisecond the one whose bytes sort last holds, so that all readers agree.
    """
    last: dict[bytes, Label] = {}
    for label in labels:
        last[label.key] = later_label(last.get(label.key), label)
    return tuple(last[key] for key in sorted(last) if not last[key].removed)


def precision_by_detector(labels: Iterable[Label]) -> Mapping[str, Precision]:
    """Counts of the labels that hold, for each detector; the values of a metric."""
    counts: dict[str, dict[str, int]] = {}
    for label in current_labels(labels):
        of = counts.setdefault(label.detector, dict.fromkeys(VERDICTS, 0))
        of[label.verdict] += 1
    return {detector: Precision(**of) for detector, of in sorted(counts.items())}
