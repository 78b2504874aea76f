"""Text that stems from events, on its way to a terminal or a log: there it is data, never an instruction.

A label may hold whatever a client put into a request: escapes that a terminal obeys, line breaks that make a
log line of their own, marks that turn the direction of writing, halves of surrogates that no encoding takes.
"""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["LogFormatter", "printable", "printable_json", "printable_lines"]

REPLACEMENT = "\ufffd"


def printable(text: str) -> str:
    """The text on one line, with a replacement character for whatever is not printed as itself.

    >>> printable("a\\x1b[31mb\\nc")
    'a�[31mb�c'
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else REPLACEMENT for character in text)


def printable_lines(text: str) -> str:
    """The same for text of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(text: str) -> str:
    r"""JSON with the escapes that it has itself in place of characters that are not printed.

    >>> printable_json('{"a": "\x9b2J"}')
    '{"a": "\\u009b2J"}'
    """
    return "\n".join("".join(map(_json_character, line)) for line in text.split("\n"))


def _json_character(character: str) -> str:
    if character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


class LogFormatter(logging.Formatter):
    """One line for each message, with its trace indented below it, so that no text can pose as a line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return "\n".join(f"  {line}" for line in printable_lines(super().formatException(ei)).split("\n"))
