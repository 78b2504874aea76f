"""Signatures of log lines to templates, as they come: those that differ only in a parameter are one template.

Like Drain (He et al., ICWS 2017) it compares signatures of equal length word by word and never reads a line
twice. Unlike Drain, whose result depends on which line came first, merging follows one rule that only ever
adds: where signatures that agree in all other words have shown enough different words at one place, the
place is a parameter, and all of them are one template. A place where one of them has a mask needs no more
than two.

Guarantee: which signatures are together depends on the set of signatures seen, not on their order, batches
or restarts. Templates only merge, never split: a template's id stays, and a merged one's is an alias of the
older. Cost: one dictionary look-up for a known signature; about 15 µs for a new one, once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce
from operator import xor

import numpy as np

from models.arrays import Rows
from models.logs.masks import WILDCARD

VALUES_MIN = 6
"""Different words at a place that make it a parameter. Programs have a few words that tell events apart
(started, paused, resumed, stopped); names and hosts soon number more."""

VALUES_MIN_OF_SHORT = 8
"""The same where one word at most is left to recognise the message by."""

NODE_COUNT_MAX = 50_000
"""Signatures and generalisations of them that are held, about 2 kB each; all new ones beyond are one
template."""

WORD_COUNT_MAX = 100
"""Words of a signature that are looked at, since memory grows by each."""

_OPEN = 0
"""The word at a place that is a parameter."""

_PARAMETER = re.compile(r"[^\s=:]*<\*>[^\s=:]*")
"""A mask and what is glued to it; `key=` and `word:` before it are no part of the parameter."""


class TemplateMiner:
    """Which signatures are one template. Templates are numbered in the order they came, with gaps."""

    def __init__(
        self, *, values_min: int = VALUES_MIN, values_min_of_short: int = VALUES_MIN_OF_SHORT
    ) -> None:
        if not 2 <= values_min <= values_min_of_short:
            raise ValueError(
                f"2 <= values_min <= values_min_of_short expected, got {values_min} and {values_min_of_short}"
            )
        self._values_min = values_min
        self._values_min_of_short = values_min_of_short
        self._words: dict[str, int] = {WILDCARD: _OPEN}
        self._is_text: list[bool] = [False]
        self._signatures: dict[str, int] = {}
        self._nodes: dict[tuple[int, ...], int] = {}
        self._parent: list[int] = []
        self._places: dict[int, int | list[tuple[int, int]]] = {}
        """By hash of a message with one place left open: word there and node of all seen or, once the place
        is a parameter, the node of what they have in common."""

    def __len__(self) -> int:
        """Signatures that are held."""
        return len(self._signatures)

    def learn(self, signatures: Sequence[str]) -> Rows:
        """Rows [E], the template of each signature, which may be new; later merges are seen by
        `templates`."""
        for signature in dict.fromkeys(signatures):
            if signature not in self._signatures:
                self._signatures[signature] = self._add(signature)
        return self.templates(signatures)

    def templates(self, signatures: Sequence[str]) -> Rows:
        """Rows [E], the template of each signature as of now; raises KeyError for one never learnt."""
        root = {node: self._root(node) for node in set(map(self._signatures.__getitem__, signatures))}
        return np.fromiter((root[self._signatures[key]] for key in signatures), np.int64, len(signatures))

    def members(self) -> dict[int, list[str]]:
        """The signatures of each template, in the order in which they came."""
        found: dict[int, list[str]] = {}
        for signature, node in self._signatures.items():
            found.setdefault(self._root(node), []).append(signature)
        return found

    def join(self, first: str, second: str) -> None:
        """Take two signatures for one template because someone said so; raises KeyError for one never
        learnt."""
        self._join(self._signatures[first], self._signatures[second])

    def _root(self, node: int) -> int:
        parent = self._parent
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def _join(self, first: int, second: int) -> None:
        older, newer = sorted((self._root(first), self._root(second)))
        self._parent[newer] = older

    def _add(self, signature: str) -> int:
        """The node of a new signature."""
        if len(self._nodes) >= NODE_COUNT_MAX:
            return self._node(())
        words = _PARAMETER.sub(WILDCARD, signature).split()[:WORD_COUNT_MAX]
        known = self._words
        for word in words:
            if word not in known:
                known[word] = len(known)
                self._is_text.append(any(map(str.isalpha, word.replace(WILDCARD, ""))))
        return self._node(tuple([known[word] for word in words]))

    def _node(self, message: tuple[int, ...]) -> int:
        """The node of a message, made if it is new, and all that follows from it.

        A message's hash is the exclusive or of those of its (place, word), so that it takes one step to leave
        a place open. A message that has an open place joins all that have a word there.
        """
        node = self._nodes.get(message)
        if node is not None:
            return node
        node = self._nodes[message] = len(self._parent)
        self._parent.append(node)
        hashes = [hash(pair) for pair in enumerate(message)]
        whole = reduce(xor, hashes, 0)
        is_text = self._is_text
        text_count = sum([is_text[word] for word in message])
        if _OPEN in message:
            alike = self._places.get(whole, [])
            self._places[whole] = node
            assert not isinstance(alike, int), "a place is opened by one message, which is not new then"
            for _, member in alike:
                self._join(node, member)
        for place, word in enumerate(message):
            text_elsewhere = text_count - is_text[word]
            if word == _OPEN or not text_elsewhere:
                continue
            key = whole ^ hashes[place] ^ hash((place, _OPEN))
            seen = self._places.setdefault(key, [])
            if isinstance(seen, int):
                self._join(node, seen)
                continue
            seen.append((word, node))
            needed = self._values_min if text_elsewhere > 1 else self._values_min_of_short
            if len(seen) >= needed or (len(seen) > 1 and not all(is_text[other] for other, _ in seen)):
                self._node((*message[:place], _OPEN, *message[place + 1 :]))
        return node
