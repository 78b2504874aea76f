"""Text that stems from events, on its way to a terminal or a log: there it is data, never an instruction.

A label may hold whatever a client put into a request: escapes that a terminal obeys, line breaks that make a
log line of their own, marks that turn the direction of writing, halves of surrogates that no encoding takes.
"""

from __future__ import annotations

import logging
from typing import Any

from models.registry.addresses import without_credentials

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
    """A line for each message, its trace indented below, so that no text poses as a line; no passwords."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return printable(without_credentials(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        trace = without_credentials(super().formatException(ei))
        return "\n".join(f"  {printable(line)}" for line in trace.split("\n"))
