"""What people decided about log templates, as they write it: the exported table, edited.

A table (CSV) or list (JSON) as `TemplateCatalog` exports it, with `name`, `ignored` and `merge_into` filled
in. A decision holds for the template's `aliases` as well, where they are listed: in another catalogue, which
has seen other lines, one of them may be what the template is known by.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from models.logs.csv_cells import text_of

_ID = re.compile(r"t[0-9a-f]{10}")
_BLANK = re.compile(r"\s*")

COLUMNS = ("id", "name", "ignored", "merge_into", "aliases")


@dataclass(frozen=True, slots=True)
class Review:
    """What someone decided about the template that has, or had, an id."""

    id: str
    name: str = ""
    ignored: bool = False
    merge_into: str = ""


class ReviewError(ValueError):
    """A review that cannot be read.

    line : 1-based, where the mistake is
    """

    def __init__(self, line: int, expected: str, found: str) -> None:
        super().__init__(f"line {line}: expected {expected}, found {found}")
        self.line = line
        self.expected = expected
        self.found = found


def read_reviews(text: str) -> list[Review]:
    """Decisions from a table or a JSON list; rows that decide nothing are left out.

    Raises ReviewError, a ValueError, at the first mistake: a row without an id such as an export has,
    `ignored` neither true, false nor blank, a merge into itself, or an id that is decided about twice.
    """
    found: dict[str, Review] = {}
    of_aliases: dict[str, Review] = {}
    rows = _json_rows(text) if text.lstrip().startswith("[") else _csv_rows(text)
    for line, row in rows:
        review, others, decides = _decision(line, row)
        if not decides:
            continue
        if review.id in found:
            raise ReviewError(line, f"one decision about {review.id}", "another")
        found[review.id] = review
        of_aliases |= {other: replace(review, id=other) for other in others}
    return list((of_aliases | found).values())


def _csv_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    table = csv.DictReader(io.StringIO(text))
    names = table.fieldnames or ()
    if "id" not in names:
        raise ReviewError(1, "a column 'id'", ", ".join(names) or "none")
    for row in table:
        yield table.line_num, row | {"name": text_of(row.get("name") or "")}


def _json_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects of a list, each with the line on which it begins."""
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise ReviewError(error.lineno, "a JSON list", f"a mistake in it ({error.msg})") from error
    reader = json.JSONDecoder()
    at, counted, line = text.index("["), 0, 1
    for row in rows:
        blank = _BLANK.match(text, at + 1)
        assert blank is not None, "it matches nothing, too"
        at = blank.end()
        line += text.count("\n", counted, at)
        counted = at
        if not isinstance(row, dict):
            raise ReviewError(line, "an object with an id", json.dumps(row)[:40])
        yield line, row
        _, at = reader.raw_decode(text, at)
        at = text.find(",", at)


def _decision(line: int, row: Mapping[str, Any]) -> tuple[Review, tuple[str, ...], bool]:
    """A row's decision, the other ids that it holds for, and whether it decides anything."""
    told = {name: row.get(name) for name in COLUMNS}
    listed = told["aliases"]
    others = tuple(listed) if isinstance(listed, list) else tuple(str(listed or "").split())
    ignored = str(told["ignored"] or "").strip().lower()
    if ignored not in ("", "true", "false"):
        raise ReviewError(line, "ignored to be true, false or blank", repr(ignored))
    name, merge_into = (str(told[key] or "").strip() for key in ("name", "merge_into"))
    review = Review(str(told["id"] or "").strip(), name, ignored == "true", merge_into)
    for one in (review.id, *filter(None, (merge_into, *others))):
        if not isinstance(one, str) or not _ID.fullmatch(one):
            raise ReviewError(line, "an id of an exported template, such as tbd0734d8f8", repr(one))
    if review.merge_into == review.id:
        raise ReviewError(line, "another template for merge_into", f"{review.id} itself")
    return review, others, bool(name or ignored or merge_into)
