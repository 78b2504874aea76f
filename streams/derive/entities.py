"""Columns that are made from others before rollups count them: networks, pseudonyms, conditions as values.

Guarantee: a value depends on its own event alone, so that counts stay exact whatever batches events come in.
Cost: whatever asks a string is answered once per entry of the column's dictionary, never once per event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import unquote_plus

import numpy as np

from models.arrays import EpochMs
from models.calendar.units import SECOND_MS
from streams.events.batch import Column, Strings
from streams.language.expression import Expression
from streams.partials.distinct import value_hashes

IPV4_PREFIX, IPV6_PREFIX = 24, 48
"""Bits of the network that stands for an address: what one customer usually has."""

ADDRESS_LENGTH_MAX = 100
"""Characters of an address, with a zone; what is longer is none, and not worth to be remembered."""

SEARCHED_LENGTH_MAX = 8_192
"""Characters in which attacks are looked for: what web servers take for a request line."""

PSEUDONYM_BYTES = 8
"""Among a million addresses two share a pseudonym with probability 3e-8."""

SLOT_BITS = 4
SLOT_COUNT = 1 << SLOT_BITS

_SECONDS = [f"{second:02d}" for second in range(60)]


@dataclass(frozen=True, slots=True)
class Alias:
    """A column under another name, so that readers need not know the source's name for it."""

    name: str
    column: str

    def make(self, columns: Mapping[str, Column], time_ms: EpochMs) -> Column:
        """The column itself, missing throughout where there is none."""
        return columns.get(self.column, Strings.missing(len(time_ms)))


@dataclass(frozen=True, slots=True)
class Network:
    """The /24 of an IPv4 address, the /48 of an IPv6 address; any other text as it is."""

    name: str
    column: str

    def make(self, columns: Mapping[str, Column], time_ms: EpochMs) -> Column:
        """Strings [E]."""
        return _mapped(columns.get(self.column), network_of, len(time_ms))


@dataclass(frozen=True, slots=True)
class Pseudonym:
    """A keyed hash in place of a value: the same value has the same pseudonym, which tells nothing of it.

    key : kept out of texts and messages; whoever has it can tell whether a pseudonym is that of an address
    """

    name: str
    column: str
    key: bytes = field(repr=False)

    def make(self, columns: Mapping[str, Column], time_ms: EpochMs) -> Column:
        """Strings [E]; what is missing stays missing."""
        return _mapped(columns.get(self.column), lambda text: pseudonym(text, self.key), len(time_ms))


@dataclass(frozen=True, slots=True)
class Chosen:
    """A column's value where a condition holds, missing elsewhere."""

    name: str
    column: str
    where: Expression

    def make(self, columns: Mapping[str, Column], time_ms: EpochMs) -> Column:
        """Strings [E]."""
        column = columns.get(self.column)
        if not isinstance(column, Strings):
            return Strings.missing(len(time_ms))
        keep = self.where.mask(columns, len(time_ms))
        return Strings(np.where(keep, column.codes, np.int32(-1)), column.values)


@dataclass(frozen=True, slots=True)
class AttackSignature:
    """1 where one of some columns holds what people look for who look for holes, else 0.

    sought : pairs of a column and a regular expression, searched for in its lowered, percent-decoded text
    """

    name: str
    sought: Sequence[tuple[str, str]]

    def make(self, columns: Mapping[str, Column], time_ms: EpochMs) -> Column:
        """Numbers [E]."""
        found = np.zeros(len(time_ms), np.bool_)
        for name, pattern in self.sought:
            column = columns.get(name)
            if isinstance(column, Strings) and len(column.values):
                table = np.fromiter(
                    (_found(pattern, text[:SEARCHED_LENGTH_MAX]) for text in column.values),
                    np.bool_,
                    len(column.values),
                )
                found |= np.append(table, np.False_)[column.codes]
        return found.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Slot:
    """A number below `SLOT_COUNT` by a hash of a column's text, missing where it is missing.

    Counts by the bits of it tell how concentrated the values are, and can be merged.
    """

    name: str
    column: str

    def make(self, columns: Mapping[str, Column], time_ms: EpochMs) -> Column:
        """Numbers [E]."""
        column = columns.get(self.column)
        if not isinstance(column, Strings):
            return np.full(len(time_ms), np.nan)
        slots = (value_hashes(column.values) % np.uint64(SLOT_COUNT)).astype(np.float64)
        return np.append(slots, np.nan)[column.codes]


@dataclass(frozen=True, slots=True)
class Second:
    """The second within the minute of each event, as text: how many there are tells pulses from floods."""

    name: str

    def make(self, columns: Mapping[str, Column], time_ms: EpochMs) -> Column:
        """Strings [E]."""
        return Strings((time_ms // SECOND_MS % 60).astype(np.int32), _SECONDS)


def network_of(text: str) -> str:
    """The network of an address in the usual notation.

    >>> network_of("192.0.2.77"), network_of("2001:db8:1:2::3"), network_of("localhost")
    ('192.0.2.0/24', '2001:db8:1::/48', 'localhost')
    """
    return _network_of(text) if len(text) <= ADDRESS_LENGTH_MAX else text


@lru_cache(maxsize=65_536)
def _network_of(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return text
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(IPv6Network((int(address), IPV6_PREFIX), strict=False))
        address = address.ipv4_mapped
    return str(IPv4Network((int(address), IPV4_PREFIX), strict=False))


def pseudonym(text: str, key: bytes) -> str:
    """A keyed hash (BLAKE2b) of a text, sixteen hexadecimal digits.

    >>> pseudonym("192.0.2.77", b"a") == pseudonym("192.0.2.77", b"b")
    False
    """
    return blake2b(text.encode(), digest_size=PSEUDONYM_BYTES, key=key).hexdigest()


def _mapped(column: Column | None, meaning: Callable[[str], str], length: int) -> Strings:
    """`meaning` of each value that occurs; a batch's dictionary may be that of a larger one."""
    if not isinstance(column, Strings):
        return Strings.missing(length)
    used = np.unique(column.codes[column.codes >= 0])
    place = np.full(len(column.values) + 1, -1, np.int32)
    place[used] = np.arange(len(used), dtype=np.int32)
    return Strings(place[column.codes], [meaning(column.values[code]) for code in used.tolist()])


@lru_cache(maxsize=16_384)
def _found(pattern: str, text: str) -> bool:
    return re.search(pattern, _plain(text)) is not None


def _plain(text: str) -> str:
    """Text as an attacker means it: percent signs decoded twice, in lower case."""
    if "%" in text or "+" in text:
        text = unquote_plus(unquote_plus(text, errors="replace"), errors="replace")
    return text.lower()
