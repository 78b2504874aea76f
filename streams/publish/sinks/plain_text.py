"""An alert's text as receivers show it: labels stem from events, and mention nobody, link nowhere.

Chat programs and mail readers find mentions, links and markup in any text. A space of no width inside of what
would start one is seen by nobody and stops all of them, whatever the receiver's own rules of escaping are.
"""

from __future__ import annotations

import re

from streams.language.printable import printable

__all__ = ["defused", "literal_markdown"]

_APART = "\u200b"

_STARTS = re.compile(r"@(?=\S)|<(?=\S)|(?<=\])(?=\()|(?<=:)(?=//)|\b(?<=www)(?=\.)", re.IGNORECASE)
"""Mentions (`@everyone`, `<@1>`, `<!channel>`), links (`<url|text>`, `[text](url)`, `https://`, `www.`)."""

_MARKS = re.compile(r"[\\*_~`|>#\[\]]")


def defused(text: str) -> str:
    """The text on one line, without anything that a receiver acts on.

    >>> defused("@everyone").encode("ascii", "namereplace")
    b'@\\\\N{ZERO WIDTH SPACE}everyone'
    """
    return _STARTS.sub(lambda found: found.group() + _APART, printable(text))


def literal_markdown(text: str) -> str:
    r"""The text for a receiver that reads every text as Markdown, as Discord does.

    >>> literal_markdown("**50 %**")
    '\\*\\*50 %\\*\\*'
    """
    return _MARKS.sub(r"\\\g<0>", text)
