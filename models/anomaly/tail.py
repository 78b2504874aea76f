"""Tail probabilities of scores: ranks among known scores, and an exponential tail beyond the top 2 %.

Guarantee: a surprise never falls as the score rises; exp(-surprise) of a score like the known ones is
uniform up to the resolution of the known scores. Peaks over a threshold have an exponential tail where the
scores' distribution is neither heavy nor bounded (Pickands 1975, shape 0), which logarithmic scores come
near to.

Axes: K known scores, N scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.arrays import Numbers

KNOWN_MAX = 4096
"""Known scores that are kept, evenly spaced in rank."""

TOP = 0.02
"""Share of the known scores that the tail is fitted to."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Known scores and the tail beyond them.

    known  : Numbers [K], ascending
    excess : mean of what the top scores are above `TOP`'s threshold, 0 where they are all the same
    """

    known: Numbers
    excess: float

    @classmethod
    def fit(cls, scores: Numbers) -> Self:
        """Learn from scores : Numbers [N] of what is mostly normal. Raises ValueError if there is none."""
        ordered = np.sort(np.asarray(scores, np.float64))
        if len(ordered) == 0 or not np.isfinite(ordered).all():
            raise ValueError("one finite score at least expected to tell a tail by")
        top = ordered[threshold_place(len(ordered)) :]
        places = np.linspace(0, len(ordered) - 1, min(len(ordered), KNOWN_MAX)).round().astype(np.int64)
        return cls(ordered[places], float((top - top[0]).mean()))

    def surprise(self, scores: Numbers) -> Numbers:
        """Numbers [N], -log of the share of known scores that are as high, 0 or more; unbounded."""
        count = len(self.known)
        as_high = count - np.searchsorted(self.known, scores, side="left")
        found = -np.log(np.minimum(1.0, (as_high + 0.5) / (count + 1.0)))
        if self.excess > 0:
            threshold = self.known[threshold_place(count)]
            at_threshold = -np.log((count - threshold_place(count) + 0.5) / (count + 1.0))
            above = scores > threshold
            found = np.where(
                above, at_threshold + (scores - threshold) / self.excess, np.minimum(found, at_threshold)
            )
        surprise: Numbers = np.maximum(found, 0.0)
        return surprise

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The tail by names of its fields, for `from_arrays`."""
        return {"known": self.known, "excess": np.array(self.excess)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The tail that `arrays` was taken of. Raises ValueError if it cannot have been."""
        if set(arrays) != {"known", "excess"}:
            raise ValueError(
                f"a tail consists of known and excess; got {', '.join(map(str, arrays)) or 'none'}"
            )
        known, excess = arrays["known"], arrays["excess"]
        for name, array, axes in (("known", known, 1), ("excess", excess, 0)):
            if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim != axes:
                raise ValueError(f"{name!r} of a tail is not an array of numbers with {axes} axes")
            if not np.isfinite(array).all():
                raise ValueError(f"{name!r} of a tail holds something that is not a number")
        if not 1 <= len(known) <= KNOWN_MAX or (np.diff(known) < 0).any() or float(excess) < 0:
            raise ValueError(
                f"1 to {KNOWN_MAX} ascending scores and an excess of at least 0 expected of a tail"
            )
        return cls(known.astype(np.float64), float(excess))


def threshold_place(count: int) -> int:
    """Place of the threshold among so many ascending scores: the top `TOP`, but ten if there are as many."""
    return max(0, count - max(10, int(TOP * count)))
