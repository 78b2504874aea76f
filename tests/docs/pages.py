"""Pages of documentation as values: their code blocks, tables, headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")]
    if path.is_file()
)

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]\n]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^(?P<marks>#+) (?P<title>.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block.

    language : first word of its info string
    options  : `name=value` words after it
    line     : 1-based line of its fence
    """

    page: Path
    line: int
    language: str
    options: dict[str, str]
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def name_of(path: Path) -> str:
    """A page as a test's id."""
    return str(path.relative_to(ROOT))


def read(page: Path | str) -> str:
    """Text of a page, given whole or relative to the repository."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    """The code blocks of a page, in these languages or all."""
    text = read(page)
    for found in _FENCE.finditer(text):
        language, *words = found["info"].split() or [""]
        options = dict(word.partition("=")[::2] for word in words)
        if not languages or language in languages:
            yield Block(page, text.count("\n", 0, found.start()) + 1, language, options, found["text"])


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", read(page))


def links(page: Path) -> list[str]:
    """Targets of a page's links."""
    return [found["target"] for found in _LINK.finditer(prose(page))]


def anchors(page: Path) -> set[str]:
    """Anchors that GitHub makes of a page's headings."""
    titles = [found["title"].lower() for found in _HEADING.finditer(prose(page))]
    return {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in titles}


def section(page: Path | str, heading: str) -> str:
    """Text below a heading, up to the next of its level or above; fails where there is none."""
    text = read(page)
    for found in _HEADING.finditer(text):
        if found["title"] == heading:
            level = len(found["marks"])
            after = text[found.end() :]
            end = re.search(rf"^#{{1,{level}}} ", after, re.MULTILINE)
            return after[: end.start()] if end else after
    raise AssertionError(f"{page} has no heading {heading!r}")


def table(text: str) -> list[list[str]]:
    """Cells of the first table in a text, without its head."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))])
        elif rows:
            break
    return rows[2:]


def code(cell: str) -> list[str]:
    """What stands between backquotes in a cell."""
    return re.findall(r"`([^`]+)`", cell)
