"""`docs/architecture.md` draws what the code draws, and its rules are those that the code says it keeps."""

from __future__ import annotations

import re
from pathlib import Path

from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.plan.diagram import draw_plan
from tests.docs.pages import ROOT, blocks, code, read, section, table

PAGE = ROOT / "docs" / "architecture.md"


def test_the_picture_is_that_of_the_example(update_golden: bool) -> None:
    drawn = draw_plan(compile_plan(load_config(ROOT / "examples" / "requests.yaml")))
    block, _ = blocks(PAGE, "mermaid")
    if update_golden:
        text = read(PAGE).replace(f"```mermaid\n{block.text}```", f"```mermaid\n{drawn}```")
        PAGE.write_text(text, encoding="utf-8")
        block, _ = blocks(PAGE, "mermaid")
    assert block.text == drawn


def rules_of(text: str) -> dict[int, str]:
    """Numbered rules, each on one line and without marks."""
    flat = re.sub(r"[*`]", "", re.sub(r"\s+", " ", text))
    pieces = re.split(r"(?:^| )(\d)\. ", flat)
    return {int(number): rule.strip() for number, rule in zip(pieces[1::2], pieces[2::2], strict=True)}


def test_the_rules_are_those_that_the_code_keeps() -> None:
    """The first words of each rule stand in the module that keeps it and on the page."""
    told = rules_of(section(PAGE, "Exact without transactions"))
    assert list(told) == [1, 2, 3, 4, 5, 6, 7]
    kept: dict[int, str] = {}
    for module in ("streams/aggregate/partition.py", "streams/window/source_window.py"):
        docstring = (ROOT / module).read_text(encoding="utf-8").split('"""')[1]
        kept |= rules_of(docstring)
    assert kept.keys() == told.keys() - {4}, "the fourth is the transport's"
    for number in (1, 3, 7):
        assert told[number].split()[:6] == kept[number].split()[:6]
    for number, rule in told.items():
        assert "Why:" in rule, f"rule {number} has no reason"


def test_the_code_of_every_stage_is_there() -> None:
    for *_, place in table(section(PAGE, "The flow")):
        assert (ROOT / code(place)[0]).exists()


def test_modules_that_point_here_find_the_page() -> None:
    pointing = [path for path in Path(ROOT / "streams").rglob("*.py") if "docs/" in path.read_text("utf-8")]
    assert pointing
    for path in pointing:
        for name in re.findall(r"(?<![\w/])docs/[\w/.-]+\.md", path.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), f"{path} points at {name}"
