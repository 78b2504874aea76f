"""Labels as they come from their topic, for all detectors of a worker."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from detectors.feedback.labels import (
    Label,
    LabelError,
    Precision,
    current_labels,
    later_label,
    precision_by_detector,
)

logger = logging.getLogger(__name__)

LABELS_MAX = 100_000
"""Keys that are kept; what people say by hand stays far below."""


class LabelFeed:
    """The labels that hold.

    on_change : told of all labels that hold, whenever they may have changed
    """

    def __init__(self, on_change: Callable[[Sequence[Label]], None]) -> None:
        self._on_change = on_change
        self._labels: dict[bytes, Label] = {}
        self._caught_up = False
        self.refused: Counter[str] = Counter()
        """Records that are no labels, or one too many."""

    def handle(self, key: bytes | None, value: bytes | None) -> None:
        """Take in a record of the topic."""
        if value is None:
            if key is not None:
                self._labels.pop(key, None)
        else:
            try:
                label = Label.from_bytes(value)
            except LabelError as error:
                self.refused["unreadable"] += 1
                logger.error("A record of the labels topic is not a label: %s", error)
                return
            if label.key not in self._labels and len(self._labels) >= LABELS_MAX:
                self.refused["too_many"] += 1
                return
            known = self._labels.get(label.key)
            self._labels[label.key] = later_label(known, label)
        if self._caught_up:
            self._tell()

    def caught_up(self) -> None:
        """All that there was has been read."""
        self._caught_up = True
        self._tell()

    def precision(self) -> Mapping[str, Precision]:
        """How each detector's labelled anomalies were judged."""
        return precision_by_detector(self._labels.values())

    def _tell(self) -> None:
        self._on_change(current_labels(self._labels.values()))
