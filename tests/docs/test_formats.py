"""`docs/formats.md` has every format with its columns, and every reason for a dead letter."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from streams.decode.format import COMMON_REASONS
from streams.decode.registry import GROUP, find_format, format_names
from streams.partials.cells import BUCKET_LIMIT
from streams.plan.plan import BUCKET_MS
from tests.docs.pages import ROOT, code, read, section, table

PAGE = "docs/formats.md"

HEADINGS = {
    name: title for title in re.findall(r"^## (`.+)$", read(PAGE), re.MULTILINE) for name in code(title)
}


def test_every_format_has_a_section() -> None:
    assert HEADINGS.keys() == set(format_names())


@pytest.mark.parametrize("name", format_names())
def test_a_format_is_described_with_the_columns_that_it_makes(name: str) -> None:
    format, text = find_format(name), section(PAGE, HEADINGS[name])
    assert format.description.lower() in " ".join(text.split()).lower()
    told = set(code(text))
    for schema in (format.schema, *format.signals.values()):
        assert schema.columns.keys() <= told


def reasons() -> Iterator[str]:
    """Every reason that stands in the code: of dead letters, of refused elements, and of late events."""
    for path in [
        *(ROOT / "streams" / "decode").rglob("*.py"),
        *(ROOT / "streams" / "aggregate").rglob("*.py"),
    ]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            words: list[ast.expr] = []
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                words = node.args if node.func.id in ("Dead", "Refused", "_dead") else []
            elif isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == ["REASON"]:
                words = [node.value]
            constants = [word.value for word in words if isinstance(word, ast.Constant)]
            yield from (one for one in constants if re.fullmatch(r"[a-z]+(_[a-z]+)*", str(one)))
    yield "late"


def test_every_reason_is_told_and_no_other() -> None:
    assert {code(reason)[0] for reason, *_ in table(section(PAGE, "Reasons"))} == set(reasons())


def test_each_format_declares_the_reasons_that_are_told_of_it() -> None:
    declared = {reason for name in format_names() for reason in find_format(name).reasons}
    assert {*declared, *COMMON_REASONS, "late"} == set(reasons())
    for reason, _, formats in table(section(PAGE, "Reasons")):
        if named := code(formats):
            (one,) = code(reason)
            assert {name for name in format_names() if one in find_format(name).reasons} == set(named)


def test_the_range_of_times_is_the_one_told() -> None:
    last_year = 1970 + BUCKET_LIMIT * BUCKET_MS / 86_400_000 / 365.2425
    told = re.search(r"before 1970 or after the year (\d+)", read(PAGE))
    assert told is not None
    assert int(told[1]) == int(last_year)


def test_the_recipe_for_a_decoder_names_files_that_are_there() -> None:
    recipe = section("CONTRIBUTING.md", "Recipe: a decoder")
    named = [word for word in code(recipe) if re.fullmatch(r"[a-z_]+/[\w/]+\.py", word)]
    assert "streams/decode/registry.py" in named
    assert [word for word in named if not (ROOT / word).is_file()] == []
    assert GROUP in code(recipe)
