"""Turns a column of messages into a column of signatures; each distinct message is processed once.

Guarantee: a signature depends on its message alone, so that counts by signature are the same however the
log is cut into batches, and after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from models.logs.masks import LogMasks
from streams.events.batch import Strings

EXAMPLE_COUNT_MAX = 20_000
"""Signatures of which an example is held; about 6 MB."""

EXAMPLE_LENGTH_MAX = 300
"""Characters of an example that are kept."""


class SignatureColumn:
    """Derives signatures, and holds one example of each: the first line seen since the start of the
    worker."""

    def __init__(self) -> None:
        self._masks = LogMasks()
        self._examples: dict[str, str] = {}

    @property
    def examples(self) -> Mapping[str, str]:
        """A line for each signature, for at most `EXAMPLE_COUNT_MAX` of them."""
        return MappingProxyType(self._examples)

    def derive(self, messages: Strings) -> Strings:
        """The signature of each message; missing where the message is."""
        found = self._masks.signatures(messages.values)
        for signature, message in zip(found, messages.values, strict=True):
            if signature not in self._examples and len(self._examples) < EXAMPLE_COUNT_MAX:
                self._examples[signature] = message[:EXAMPLE_LENGTH_MAX]
        return _recoded(messages, found)


def parameters(messages: Strings, signatures: Strings) -> Strings:
    """The words of each message that its signature lacks: its parameters, as one text a message.

    Distinct ones counted over a long window tell when a parameter that was always the same takes a new value.
    """
    pairs = np.unique(np.stack([messages.codes, signatures.codes]), axis=1)
    signature_of = dict(zip(*pairs.tolist(), strict=True))
    words = {code: frozenset(signatures.values[code].split()) for code in set(pairs[1].tolist()) if code >= 0}
    texts = [
        " ".join([word for word in message.split() if word not in words[signature_of[code]]])
        if signature_of.get(code, -1) >= 0
        else ""
        for code, message in enumerate(messages.values)
    ]
    return _recoded(messages, texts)


def _recoded(column: Strings, values: list[str]) -> Strings:
    """A column that has `values[code]` wherever `column` has `code`."""
    place: dict[str, int] = {}
    codes = np.fromiter((place.setdefault(value, len(place)) for value in values), np.int32, len(values))
    return Strings(np.append(codes, np.int32(-1))[column.codes], list(place))
