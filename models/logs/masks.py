"""Log lines to signatures: what varies from line to line becomes `<*>`, what is written in the program stays.

Guarantee: a signature is a pure function of its line. It does not depend on other lines, on batches or on
restarts, so that lines can be counted by signature before anything has been learnt; the signature of a
signature is itself. Masks are generic (numbers, hexadecimal, addresses, hosts, paths, dates, sizes and
durations with units, `key=value`); none knows a program.

Cost: digits are made equal and runs of them short for a whole batch at once (`_shapes`, about 2 µs a line),
after which few lines differ; regular expressions run only over distinct ones, joined to one text.

Words without digits that vary (user names, say) stay in the signature; `models.logs.drain` merges
such signatures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

WILDCARD = "<*>"

LINE_LENGTH_MAX = 2_000
"""Characters of a line that are looked at; templates are told by how a line begins."""

SIGNATURE_LENGTH_MAX = 500
"""Characters of a signature that are kept, since it is the name of a series."""

KNOWN_COUNT_MAX = 50_000
"""Shapes whose signature is remembered; about 15 MB. Beyond that the memory starts afresh."""

_M = "\0"
"""Stands for the wildcard while masks are applied: one character, and no letter, digit or punctuation."""


@dataclass(frozen=True, slots=True)
class _Mask:
    """Replaces what matches; not even tried where the text lacks `needs`."""

    needs: str
    pattern: re.Pattern[str]
    replacement: str = _M


def _mask(needs: str, pattern: str, replacement: str = _M) -> _Mask:
    return _Mask(needs.replace("◆", _M), re.compile(pattern.replace("◆", _M)), replacement.replace("◆", _M))


_DOMAINS = "com|net|org|edu|gov|mil|info|biz|io|dev|local|localdomain|internal|lan|[a-z]{2}"
_PACKAGES = r"com\.|org\.|net\.|edu\.|gov\.|io\.|java\.|javax\."
_SIZES = "[kKMGTP]i?[Bb]|[Bb]ytes?|B"
_UNITS = f"{_SIZES}|sec(?:s|onds?)?|[mun]?s|msecs?|min(?:s|utes?)?|h(?:ours?|rs?)?|d(?:ays?)?|%"
_TELLING_KEYS = (
    "msg|message|event|err|error|level|lvl|severity|action|op|operation|method|type|reason|status|state"
)
"""Keys of `key=value` whose words say what happened, so that they stay."""

_WEEKDAYS = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*"
_MONTHS = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"

_MASKS = (
    # In shapes a digit is 0 and a number is a single 0.
    _mask("://", r"(?<![A-Za-z0+.\-])[A-Za-z][A-Za-z0+.\-]*://[^\s\"'<>,;)\]]+"),
    _mask("@", r"(?<![\w.+\-◆])[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+(?!◆)"),
    _mask("/", r"(?<![\w./*>◆])\.{0,2}/+[\w.\-+~%@#$*◆]+(?:/+[\w.\-+~%@#$*◆]*)*"),
    _mask("\\", r"(?<![\w.\\*>◆])(?:[A-Za-z]:|\.{1,2})?(?:\\+[\w.\-+~%@#$*◆]+){2,}\\*"),
    _mask(
        ".",
        rf"(?<![\w.\-◆])(?!(?:{_PACKAGES})[\w.\-]*(?![\w.\-:]))(?:[\w\-]+\.)+(?:[\w\-]+:0(?![\w.])"
        rf"|(?:{_DOMAINS})(?![\w.\-(:◆]))",
    ),
    _mask(
        " 0",
        rf"(?<![\w◆])(?:{_WEEKDAYS},? )?{_MONTHS} 0(?![\w◆])(?:,? 0:0(?::0)?(?:\.0)?)?(?:,? 0(?![\w.:◆]))?",
    ),
    _mask("-", r"(?<![\w\-◆])(?=[a-fA-F\-]*0)(?:[0a-fA-F]+-){4}[0a-fA-F]+(?![\w\-◆])"),
    _mask(":", r"(?<![\w:.◆])(?:[0a-fA-F]+:{1,2}){2,}[0a-fA-F]*(?![\w:◆])"),
    _mask(
        "",
        r"(?<![A-Za-z0◆])(?:(?=[a-fA-F]*0)[0a-fA-F]+|0[xX][0a-fA-F]+|[a-fA-F]{8,}"
        r"|(?<!_)(?:[Tt]rue|[Ff]alse|TRUE|FALSE|null|NULL|None)(?!_))(?![A-Za-z0◆])",
    ),
    _mask("0", "0"),
    _mask("◆", r"[+\-]◆(?<![A-Za-z◆)\]+\-].◆)"),
    _mask("◆", r"◆(?:[.:\-_/,+]*◆)+"),
    _mask("()", r"\(\)(?<!\S\(\))", "(◆)"),
    _mask("{", r"\{(?<=[\w\])◆]\{)[^{}\"\n]*\}"),
    _mask("{", r"\{(?<=[\w\])◆]\{)[^{}\"\n]*\}"),
    _mask(
        "=",
        rf"(?<![\w.\-])(?!(?:{_TELLING_KEYS})=)([A-Za-z_][\w.\-]*)=(?![=\"'])(?: (?=◆))?"
        r"(?:[^\s,;(){}\[\]\"'|]|\([^()\n]*\)|\{[^{}\n]*\}|\[[^\[\]\n]*\])*(?<![.:])",
        r"\1=◆",
    ),
    _mask('":', rf'"(?!(?:{_TELLING_KEYS})")([\w.\-◆]+)": ?"[^"\n]*"', r'"\1": "◆"'),
    _mask(" user ", r"\b(for|by|as|invalid|unknown) user [\w\-@$◆]+(?:\.[\w\-@$◆]+)*", r"\1 user ◆"),
    _mask(" from ◆", r"\bfor [\w\-@$]+(?:\.[\w\-@$]+)* from (?=◆)", "for ◆ from "),
    # 1301 bytes (1.27 KB) is one size told twice, or once where it is small.
    _mask("(◆", rf"(?<=◆)((?: ?(?:{_SIZES}))?) \(◆ ?(?:{_SIZES})\)", r"\1"),
    _mask("◆", rf"[<~]?◆(?: ?(?:{_UNITS})|[CF])(?![\w◆])"),
    _mask("◆", r"◆(?:[ ,;|]+◆)+(?!\w)"),
    _mask("◆", r"(?<!\S)(?=\S*◆)(\S++)(?: \1)+(?!\S)", r"\1"),
)

_EQUAL_DIGITS = bytes.maketrans(b"123456789\t\r", b"000000000  ")
_ZEROS = re.compile(rb"0{2,}")
_ESCAPES = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]")
_BLANKS = re.compile(rb" {2,}")


def first_line(text: str) -> str:
    """What is looked at of a message: its first line that is not blank, cut between words if too long."""
    return _cut(text.lstrip().partition("\n")[0], LINE_LENGTH_MAX)


def _cut(line: str, length_max: int) -> str:
    """The line, cut between words where it is too long, and anywhere where it has but one."""
    if len(line) <= length_max:
        return line
    cut = line[:length_max]
    return cut.rpartition(" ")[0] or cut


def _shapes(lines: Sequence[str]) -> list[str]:
    """Each line with every number written as one 0, every run of blanks as one, and no escape sequences."""
    text = "\n".join(lines)
    if text.count("\n") >= len(lines) or len(text) > LINE_LENGTH_MAX:
        lines = [
            line if len(line) <= LINE_LENGTH_MAX and "\n" not in line else first_line(line) for line in lines
        ]
        text = "\n".join(lines)
    shaped = text.encode("utf-8", "surrogatepass")  # bytes are translated ten times as fast
    if b"\x1b" in shaped:
        shaped = _ESCAPES.sub(b"", shaped)
    shaped = shaped.translate(_EQUAL_DIGITS)
    shaped = _ZEROS.sub(b"0", shaped)
    if b"  " in shaped:
        shaped = _BLANKS.sub(b" ", shaped)
    text = shaped.decode("utf-8", "surrogatepass").replace(WILDCARD, _M)
    return text.replace(" \n", "\n").replace("\n ", "\n").strip(" ").split("\n")


def _masked(shapes: Sequence[str]) -> list[str]:
    """The signature of each shape."""
    lines = list(shapes)
    for mask in _MASKS:
        needs = mask.needs
        rows = [row for row, line in enumerate(lines) if needs in line]
        if rows:
            changed = mask.pattern.sub(mask.replacement, "\n".join([lines[row] for row in rows])).split("\n")
            for row, line in zip(rows, changed, strict=True):
                lines[row] = line
    return [_cut(line.replace(_M, WILDCARD), SIGNATURE_LENGTH_MAX) for line in lines]


class LogMasks:
    """Signatures of lines, with a memory of shapes seen before, which changes the speed and nothing else."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def signatures(self, lines: Sequence[str]) -> list[str]:
        """The signature of each line, in order.

        >>> LogMasks().signatures(["Accepted key for user ann from 10.0.0.7 port 4242"])
        ['Accepted key for user <*> from <*> port <*>']
        """
        if not lines:
            return []
        shapes = _shapes(lines)
        new = [shape for shape in dict.fromkeys(shapes) if shape not in self._known]
        if new:
            if len(self._known) + len(new) > KNOWN_COUNT_MAX:
                self._known = {}
                new = list(dict.fromkeys(shapes))
            self._known.update(zip(new, _masked(new), strict=True))
        return [self._known[shape] for shape in shapes]
