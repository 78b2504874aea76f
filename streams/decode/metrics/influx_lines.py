"""The grammar of Influx line protocol: records are cut into lines, and lines into words as written.

Source: InfluxData, "Line protocol", and `models/points.go` of InfluxDB 1 for what the text leaves open:
a separator is escaped when a backslash stands right before it, every other backslash is itself.
Guarantee: plain lines (two blanks, no quotes, no escapes) are cut all at once by `bytes.split`; the
regular expression of the whole grammar would cut them in the same places, and it cuts all others.
Cost: 0.5 µs a plain line, 4 µs any other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import orjson

from models.arrays import Counts, Numbers, Rows

_KEY = rb"(?:\\[,= ]|[^,= \n])++"
_TEXT = rb'"(?:[^"\\]|\\.)*+"'
_PAIR = _KEY + rb"=(?:" + _TEXT + rb'|[^,=" \r\n]++)'
_LINE = re.compile(
    rb"[ \t]*+(?!#)((?:\\ |[^ \n])++) ++(" + _PAIR + rb"(?:," + _PAIR + rb")*+)"
    rb"(?: ++([^ \r\n]++))? *+\r?(?:\n|\Z)",
    re.DOTALL,
)
_FIELD = re.compile(rb"(" + _KEY + rb")=(" + _TEXT + rb"|[^,]++)", re.DOTALL)
_TAG = re.compile(rb"(" + _KEY + rb")=((?:\\[,= ]|[^,=])++)", re.DOTALL)

_ALL = bytes(range(256))
_BUT_BLANKS = bytes(set(_ALL) - set(b" \n"))
_BUT_SIGNS = bytes(set(_ALL) - set(b"=,"))

_ESCAPED = re.compile(rb"\\([,= ])")
_ESCAPED_IN_NAME = re.compile(rb"\\([, ])")
_ESCAPED_IN_TEXT = re.compile(rb'\\(["\\])')

_SUFFIXES_FIT = re.compile(rb"(?:[^,iu]*+,|[+\-0-9]*+i,|[+0-9]*+u,)*+")
"""Words with a comma behind each, in which `i` and `u` only end what may be a whole number."""

_FLOAT = re.compile(rb"[+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?+")
_INTEGER = re.compile(rb"[+-]?\d++i|\+?\d++u")
_TRUTH = {
    **dict.fromkeys((b"t", b"T", b"true", b"True", b"TRUE"), 1.0),
    **dict.fromkeys((b"f", b"F", b"false", b"False", b"FALSE"), 0.0),
}


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of some records in their order.

    text   : L lines; some end in a line break
    record : Rows [L], the record of each
    """

    text: Sequence[bytes]
    record: Rows

    def position(self, line: int) -> int:
        """How many lines of the same record come before."""
        return line - int(np.searchsorted(self.record, self.record[line]))


@dataclass(frozen=True, slots=True)
class Cut:
    """Words of the M lines that have the form of a line; E fields.

    line    : Rows [M], ascending
    head    : M measurements with tags, as written
    stamp   : M times as written, empty where there is none
    size    : Counts [M] of fields, at least 1
    key     : E field keys as written
    value   : E field values as written
    unclear : Rows, the other lines, ascending
    """

    line: Rows
    head: Sequence[bytes]
    stamp: Sequence[bytes]
    size: Counts
    key: Sequence[bytes]
    value: Sequence[bytes]
    unclear: Rows


def split_lines(values: Sequence[bytes | None]) -> Lines:
    """Lines of records; a tombstone has one empty line."""
    contents = [value or b"" for value in values]
    joined = b"\n".join(contents)
    if b'"' not in joined:
        text = joined.split(b"\n") if contents else []
        if len(text) == len(contents):
            return Lines(text, np.arange(len(text)))
        sizes = [content.count(b"\n") + 1 for content in contents]
    else:
        pieces = [list(_split(c)) if b'"' in c else c.split(b"\n") for c in contents]
        text, sizes = list(chain.from_iterable(pieces)), list(map(len, pieces))
    return Lines(text, np.repeat(np.arange(len(contents)), sizes))


def _split(content: bytes) -> Iterator[bytes]:
    """Lines of a record with quotes: a line break inside quoted text ends no line."""
    at = 0
    while at < len(content):
        match = _LINE.match(content, at)
        end = match.end() if match else content.find(b"\n", at) + 1 or len(content)
        yield content[at:end]
        at = end


def cut_lines(text: Sequence[bytes]) -> Cut:
    """Cut all lines into words."""
    plain, heads, fields, stamps = _cut_plain(text)
    joined = b",".join(fields)
    pieces = joined.replace(b"=", b",").split(b",") if fields else []
    if len(pieces) == 2 * len(fields):
        sizes = np.ones(len(fields), np.int64)
    else:
        sizes = np.array([section.count(b"=") for section in fields])
    cut = Cut(
        line=np.asarray(plain, np.int64),
        head=heads,
        stamp=stamps,
        size=sizes,
        key=pieces[0::2],
        value=pieces[1::2],
        unclear=np.empty(0, np.int64),
    )
    return cut if len(plain) == len(text) else _join_others(text, cut)


def _cut_plain(text: Sequence[bytes]) -> tuple[Sequence[int], list[bytes], list[bytes], list[bytes]]:
    """Positions, heads, field sections and times of the plain lines among `text`."""
    chosen: Sequence[int] = range(len(text))
    joined = b"\n".join([*text, b""])
    has_signs = b'"' in joined or b"\\" in joined or b"\t" in joined
    if has_signs or joined.translate(None, _BUT_BLANKS) != b"  \n" * len(text):
        chosen = [at for at, line in enumerate(text) if _is_plain(line)]
        joined = b"\n".join([*(text[at] for at in chosen), b""])
    words = joined.replace(b"\n", b" ").split(b" ")
    heads, fields, stamps = words[0:-1:3], words[1::3], words[2::3]
    signs = b",".join([*fields, b""]).translate(None, _BUT_SIGNS)
    if signs != b"=," * (len(signs) // 2) or b"" in stamps:
        sound = [at for at, section in enumerate(fields) if _alternates(section) and stamps[at]]
        chosen = [chosen[at] for at in sound]
        heads, fields, stamps = ([words[at] for at in sound] for words in (heads, fields, stamps))
    return chosen, heads, fields, stamps


def _is_plain(line: bytes) -> bool:
    return line.count(b" ") == 2 and not (b'"' in line or b"\\" in line or b"\t" in line or b"\n" in line)


def _alternates(section: bytes) -> bool:
    signs = section.translate(None, _BUT_SIGNS) + b","
    return signs == b"=," * (len(signs) // 2)


def _join_others(text: Sequence[bytes], plain: Cut) -> Cut:
    """The plain lines' words and those of all other lines, in the order of the lines."""
    is_other = np.ones(len(text), np.bool_)
    is_other[plain.line] = False
    heads, stamps, keys, values = (list(words) for words in (plain.head, plain.stamp, plain.key, plain.value))
    lines, sizes, unclear = plain.line.tolist(), plain.size.tolist(), list[int]()
    for line in np.flatnonzero(is_other).tolist():
        match = _LINE.fullmatch(text[line])
        if match is None:
            unclear.append(line)
            continue
        found = _FIELD.findall(match[2])
        lines.append(line)
        heads.append(match[1])
        stamps.append(match[3] or b"")
        sizes.append(len(found))
        keys += [key for key, _ in found]
        values += [value for _, value in found]
    numbers, size = np.asarray(lines, np.int64), np.asarray(sizes, np.int64)
    order = np.argsort(numbers)
    rows = np.argsort(np.repeat(numbers, size), kind="stable").tolist()
    return Cut(
        line=numbers[order],
        head=[heads[at] for at in order.tolist()],
        stamp=[stamps[at] for at in order.tolist()],
        size=size[order],
        key=[keys[row] for row in rows],
        value=[values[row] for row in rows],
        unclear=np.asarray(unclear, np.int64),
    )


def has_content(line: bytes) -> bool:
    """Whether a line is neither empty nor a comment."""
    bare = line.strip(b" \t\r\n")
    return bool(bare) and not bare.startswith(b"#")


def parse_head(head: bytes) -> tuple[str, dict[str, str]] | None:
    """Measurement and tags, without escapes; None where they are malformed.

    >>> parse_head(rb"disk\\ use,host=a,path=/a\\,b")
    ('disk use', {'host': 'a', 'path': '/a,b'})
    """
    measurement, *pairs = re.split(rb"(?<!\\),", head)
    matches = [_TAG.fullmatch(pair) for pair in pairs]
    if not measurement or measurement.startswith(b"#") or not all(matches):
        return None
    tags = {unescape(match[1]): unescape(match[2]) for match in matches if match}
    return _text(_ESCAPED_IN_NAME.sub(rb"\1", measurement)), tags


def unescape(word: bytes) -> str:
    """A tag or a key without escapes."""
    return _text(_ESCAPED.sub(rb"\1", word) if b"\\" in word else word)


def _text(word: bytes) -> str:
    return word.decode("utf-8", "replace")


def parse_values(words: Sequence[bytes]) -> tuple[Numbers, dict[int, str], list[int]]:
    """Field values [E] as numbers, those that are text, and the positions of those that are neither."""
    texts: dict[int, str] = {}
    if any(b'"' in word for word in words):
        texts = {row: _unquote(word) for row, word in enumerate(words) if word.startswith(b'"')}
    if not texts:
        value, bad = _parse_numbers(words)
        return value, texts, bad
    others = [row for row in range(len(words)) if row not in texts]
    found, bad = _parse_numbers([words[row] for row in others])
    value = np.full(len(words), np.nan)
    value[others] = found
    return value, texts, [others[row] for row in bad]


def _parse_numbers(words: Sequence[bytes]) -> tuple[Numbers, list[int]]:
    """Values that are not text, and the positions of those that have none of the protocol's forms.

    Where all are written as numbers they are read in one go; the character test keeps out what the
    readers of numbers would accept besides (`nan`, `1_000`).
    """
    joined = b",".join([*words, b""])
    if not joined.translate(None, b"0123456789+-.eEiu,"):
        is_suffixed = b"i" in joined or b"u" in joined
        if not is_suffixed or _SUFFIXES_FIT.fullmatch(joined):
            try:
                value = _read_numbers(joined.replace(b"i,", b",").replace(b"u,", b",")[:-1])
            except ValueError:
                value = np.empty(0)
            if len(value) == len(words) and np.isfinite(value).all():
                return value, []
    found = [parse_value(word) for word in words]
    bad = [row for row, number in enumerate(found) if number is None]
    return np.array([np.nan if number is None else number for number in found], np.float64), bad


def _read_numbers(joined: bytes) -> Numbers:
    """Numbers between commas; JSON's reader is the fastest, but refuses `+1`, `.5` and `01`."""
    try:
        return np.array(orjson.loads(b"[" + joined + b"]"), np.float64)
    except ValueError:
        return np.array([float(word) for word in joined.split(b",")])


def parse_value(word: bytes) -> float | None:
    """A field value that is not text; None where it has none of the protocol's forms.

    >>> parse_value(b"2.5e3"), parse_value(b"7i"), parse_value(b"T"), parse_value(b"1.5i")
    (2500.0, 7.0, 1.0, None)
    """
    if _FLOAT.fullmatch(word) or _INTEGER.fullmatch(word):
        number = float(word.rstrip(b"iu"))
        return number if math.isfinite(number) else None
    return _TRUTH.get(word)


def _unquote(word: bytes) -> str:
    return _text(_ESCAPED_IN_TEXT.sub(rb"\1", word[1:-1]) if b"\\" in word else word[1:-1])
