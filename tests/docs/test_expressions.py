"""What `docs/expressions.md` says of expressions is what they do."""

from __future__ import annotations

import json
import re

import pytest

from streams.language.expression import ExpressionError, compile_expression
from streams.language.expression.kinds import FUNCTIONS
from tests.docs.pages import ROOT, blocks, code, read, section, table
from tests.unit.decoding import decode

PAGE = ROOT / "docs" / "expressions.md"

LINES = [
    re.split(r" {2,}", line, maxsplit=1) for block in blocks(PAGE, "expr") for line in block.text.splitlines()
]


def event() -> str:
    (block,) = blocks(PAGE, "json")
    return json.dumps(json.loads(block.text))


@pytest.mark.parametrize(("text", "result"), [pair for pair in LINES if pair[1] in ("true", "false")])
def test_conditions_hold_as_told(text: str, result: str) -> None:
    condition = compile_expression(text)
    batch = decode("json", [event()], condition.columns)
    assert condition.mask(batch.columns, len(batch)).tolist() == [result == "true"]


@pytest.mark.parametrize(("text", "message"), [pair for pair in LINES if pair[1] not in ("true", "false")])
def test_mistakes_are_told_as_told(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert str(caught.value).splitlines()[0] == message


def test_there_are_examples_of_both_kinds() -> None:
    assert len(LINES) > 25
    assert {result for _, result in LINES} > {"true", "false"}


def test_all_functions_are_told() -> None:
    told = {code(call)[0].partition("(")[0] for call, _ in table(section(PAGE, "Operators"))}
    assert told | {"lower"} == set(FUNCTIONS)
    assert "`lower(text)`" in read(PAGE)
