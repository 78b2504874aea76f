"""Text from events in tables that people open in a spreadsheet, which runs a cell that looks like a formula.

An apostrophe before such a text makes every spreadsheet take it as text; it is not part of the value.
"""

from __future__ import annotations

__all__ = ["cell", "text_of"]

_MARK = "'"
_BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(text: str) -> str:
    """The text as a cell that no spreadsheet runs.

    >>> cell('=HYPERLINK("https://example.org")')
    '\\'=HYPERLINK("https://example.org")'
    """
    return _MARK + text if text.startswith(_BEGINS_FORMULA) else text


def text_of(cell: str) -> str:
    """The text of which `cell` made the cell."""
    return cell[1:] if cell.startswith(_MARK) and cell[1:].startswith(_BEGINS_FORMULA) else cell
