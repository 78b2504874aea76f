"""Errors in a user's files, each with where it is, what was expected, what was found, and how to fix it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from models.registry.addresses import without_credentials

FOUND_CHARS_MAX = 80
"""Longest part of a user's value that a message repeats."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake.

    file       : as the user named it; `environment` for a variable
    line       : 1-based, 0 where there is none
    key        : dotted path inside the document (`sources.requests.format`), may be empty
    expected   : what would be right
    found      : what is there, cut and without secrets; empty where something is lacking
    suggestion : how to fix it (`did you mean json?`), may be empty
    detail     : further lines, such as an expression with a caret
    """

    file: str
    line: int
    key: str
    expected: str
    found: str = ""
    suggestion: str = ""
    detail: str = ""

    def __str__(self) -> str:
        text = f"{_place(self.file, self.line, self.key)}expected {self.expected}"
        text += f", found {self.found}" if self.found else ""
        text += f"; {self.suggestion}" if self.suggestion else ""
        return text + "".join(f"\n    {line}" for line in self.detail.splitlines())


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """Something that holds, but that the user should know."""

    file: str
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        return f"{_place(self.file, self.line, self.key)}note: {self.text}"


@dataclass(slots=True)
class Findings:
    """Problems and notes gathered while files are read; nothing stops at the first."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems


class ConfigError(ValueError):
    """Files that cannot be used; `problems` lists every mistake, `str()` shows one on each line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(word: str, known: Iterable[str], *, likeness: float = 0.6, most: int = 1) -> str:
    """`did you mean …?` for the known words nearest to `word`, or empty.

    likeness : 0 to 1, how alike the two must be by difflib's ratio; 0.6 is its own default
    most     : how many words to name
    """
    words = {candidate.lower(): candidate for candidate in known}
    near = get_close_matches(word.lower(), words, n=most, cutoff=likeness)
    return f"did you mean {' or '.join(words[each] for each in near)}?" if near else ""


def one_of(known: Iterable[str]) -> str:
    """`one of a, b, c`; a single word stands alone."""
    words = list(known)
    return words[0] if len(words) == 1 else f"one of {', '.join(words)}"


def show(value: object) -> str:
    """A value as a message repeats it: on one line, cut, and named by type if it is not a scalar."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    text = without_credentials(" ".join(text.split()), "…@")
    if len(text) > FOUND_CHARS_MAX:
        text = text[: FOUND_CHARS_MAX - 1] + "…"
    return f'"{text}"' if isinstance(value, str) else text


def _place(file: str, line: int, key: str) -> str:
    where = f"{file}:{line}: " if line else f"{file}: "
    return where + (f"{key}: " if key else "")
