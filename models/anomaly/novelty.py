"""How rare is what was seen, for the place where it was seen: conformal surprise of tokens in contexts.

A context is anything that has habits (a parameter of a path, a column of a table), a token what occurs in it
(a value, a character). A unit is a group of tokens of one context that is judged by its rarest (the
characters of a value). What counts is not how often a token was seen but how often a new unit of this
context is as rare: a new password is no surprise where each is new, a new value of a switch is one.

Guarantee: a unit's surprise is -log of the share of training units of its context that were at least as rare
when their own fold was left out, so exp(-surprise) is a p-value up to the bounds of cross-conformal
prediction (Vovk 2015); folds are stretches of time, so that repeats within a burst are not taken for habits.

Cost: 16 bytes a token, 140 bytes a context; a look-up is a binary search.

Axes: E tokens, U units, C contexts, L levels of rarity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.arrays import Counts, Hashes, Numbers, Rows

LEVELS = 17
"""Rarities told apart: never seen, once, 2 to 3 times, 4 to 7 and so on up to 2**15 and more."""

MIX = np.uint64(0x9E3779B97F4A7C15)
"""The golden ratio in 64 bits, as in SplitMix64."""


def mixed(first: Hashes, second: Hashes) -> Hashes:
    """Return one key for each pair of keys."""
    with np.errstate(over="ignore"):
        key = (first ^ (second * MIX)) * np.uint64(0xBF58476D1CE4E5B9)
        key ^= key >> np.uint64(31)
        return key * np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True, slots=True)
class Novelty:
    """What was seen in each context, and how rare the units of each context usually are.

    tokens   : Hashes [E], keys of context and token, ascending
    counts   : Counts [E], how often each was seen
    contexts : Hashes [C], ascending
    surprise : Numbers [C, L], -log share of the context's units that are at least as rare as each level
    """

    tokens: Hashes
    counts: Counts
    contexts: Hashes
    surprise: Numbers

    @classmethod
    def fit(cls, context: Hashes, start: Rows, token: Hashes, fold: Rows) -> tuple[Self, Numbers]:
        """Learn from U units and judge each by the units of all other folds.

        context : Hashes [U], the unit's context
        start   : Rows [U], where the tokens of each unit begin in `token`; each has at least one
        token   : Hashes [E]
        fold    : Rows [U], numbers from 0 up; at least two folds for surprises that mean something

        Returns the model and the units' surprises, Numbers [U].
        """
        unit = owners(start, len(token))
        key = mixed(context[unit], token)
        tokens, place = np.unique(key, return_inverse=True)
        counts = np.bincount(place, minlength=len(tokens))
        # What the token's own fold saw of it is taken off.
        width = int(fold.max(initial=0)) + 1
        pair = place * width + fold[unit]
        _, member, in_fold = np.unique(pair, return_inverse=True, return_counts=True)
        level = rarity(counts[place] - in_fold[member])
        rarest = np.minimum.reduceat(level, start) if len(start) else level
        contexts, row = np.unique(context, return_inverse=True)
        seen = np.bincount(row * LEVELS + rarest, minlength=len(contexts) * LEVELS).reshape(-1, LEVELS)
        at_least_as_rare = seen.cumsum(axis=1)
        total = at_least_as_rare[:, -1:]
        surprise = -np.log(np.minimum(1.0, (at_least_as_rare + 0.5) / (total + 1.0)))
        surprise -= surprise[:, -1:]  # what is as rare as all is no surprise, however few were seen
        return cls(tokens, counts, contexts, surprise), surprise[row, rarest]

    def score(self, context: Hashes, start: Rows, token: Hashes) -> Numbers:
        """Numbers [U], the surprise of each unit; 0 in a context that was never seen.

        Arguments as of `fit`.
        """
        if len(start) == 0 or len(self.contexts) == 0:
            return np.zeros(len(start))
        key = mixed(context[owners(start, len(token))], token)
        place = np.minimum(np.searchsorted(self.tokens, key), len(self.tokens) - 1)
        count = np.where(self.tokens[place] == key, self.counts[place], 0)
        rarest = np.minimum.reduceat(rarity(count), start)
        row = np.minimum(np.searchsorted(self.contexts, context), len(self.contexts) - 1)
        return np.where(self.contexts[row] == context, self.surprise[row, rarest], 0.0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that was learnt by names of its fields, for `from_arrays`."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The model that `arrays` was taken of. Raises ValueError if it cannot have been."""
        kinds = {"tokens": ("u", 1), "counts": ("i", 1), "contexts": ("u", 1), "surprise": ("f", 2)}
        if set(arrays) != set(kinds):
            raise ValueError(
                f"novelty consists of {', '.join(kinds)}; got {', '.join(map(str, arrays)) or 'none'}"
            )
        for name, (kind, axes) in kinds.items():
            array = arrays[name]
            if not isinstance(array, np.ndarray) or array.dtype.kind != kind or array.ndim != axes:
                raise ValueError(f"{name!r} of novelty is not an array of {axes} axes and kind {kind!r}")
        tokens, counts, contexts, surprise = (arrays[name] for name in kinds)
        if tokens.shape != counts.shape or surprise.shape != (len(contexts), LEVELS):
            raise ValueError("arrays of novelty whose lengths do not belong together")
        if (counts < 0).any() or not np.isfinite(surprise).all() or (surprise < 0).any():
            raise ValueError("a count or surprise of novelty below 0")
        if (tokens[1:] <= tokens[:-1]).any() or (contexts[1:] <= contexts[:-1]).any():
            raise ValueError("keys of novelty that do not ascend")
        return cls(
            tokens.astype(np.uint64),
            counts.astype(np.int64),
            contexts.astype(np.uint64),
            surprise.astype(np.float64),
        )


def owners(start: Rows, count: int) -> Rows:
    """Rows [E], the unit of each of so many tokens."""
    return np.repeat(np.arange(len(start)), np.diff(np.append(start, count)))


def rarity(counts: Counts) -> Rows:
    """Return levels of rarity: 0 for none, else 1 + floor(log2(count)), at most LEVELS - 1."""
    return np.minimum(np.frexp(counts)[1], LEVELS - 1).astype(np.int64)
