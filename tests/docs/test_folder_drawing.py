"""The drawing of folders in `docs/architecture.md` shows the whole tree, and no arrow that the code lacks."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks

_, BLOCK = blocks(ROOT / "docs" / "architecture.md", "mermaid")

PACKAGES = ("streams", "detectors", "models")

ARROWS = re.findall(r"^    (\w+) (?:-- (\w+) -->|(-\.->)|-->) (\w+)$", BLOCK.text, re.MULTILINE)
"""Where each arrow begins, the type that it carries, whether it is dotted, where it ends."""


def folder_of(node: str) -> Path:
    """The folder of a node: `detectors_api` is `detectors/api`, any other is one of `streams`."""
    package, _, name = node.partition("_")
    return Path(package, name) if name else Path("streams", package)


def drawn_folders() -> dict[str, set[Path]]:
    """Folders by the name of their node, and of the subgraph that holds them."""
    found: dict[str, set[Path]] = {}
    for group, body in re.findall(
        r"^    subgraph (\w+)\[.*?\n(.*?)^    end$", BLOCK.text, re.MULTILINE | re.DOTALL
    ):
        nodes = re.findall(r"^ {8}(\w+)\[", body, re.MULTILINE)
        found |= {node: {folder_of(node)} for node in nodes}
        found[group] = {folder_of(node) for node in nodes}
    return found


DRAWN = drawn_folders()


@cache
def imports_of(folder: Path) -> set[Path]:
    """Folders that the modules of a folder import from."""
    return {
        Path(*node.module.split(".")[:2])
        for node in nodes_of(folder)
        if isinstance(node, ast.ImportFrom) and node.module
    }


@cache
def names_in(folder: Path) -> set[str]:
    """Names that the modules of a folder import or define."""
    imported = {
        alias.name for node in nodes_of(folder) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    return imported | {node.name for node in nodes_of(folder) if isinstance(node, ast.ClassDef)}


@cache
def nodes_of(folder: Path) -> list[ast.AST]:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / folder).rglob("*.py")]
    return [node for text in texts for node in ast.walk(ast.parse(text))]


def test_every_folder_is_drawn_and_no_other() -> None:
    there = {
        init.parent.relative_to(ROOT) for name in PACKAGES for init in (ROOT / name).glob("*/__init__.py")
    }
    assert set().union(*DRAWN.values()) == there


def test_every_arrow_is_checked() -> None:
    assert len(ARROWS) == BLOCK.text.count("->")


@pytest.mark.parametrize(("source", "data", "dotted", "target"), ARROWS)
def test_an_arrow_is_an_import_or_data_that_both_ends_know(
    source: str, data: str, dotted: str, target: str
) -> None:
    """Topics and what lies outside are no folders: an arrow from or to them is checked at its other end."""
    ends = [DRAWN[end] for end in (source, target) if end in DRAWN]
    if dotted:
        assert set().union(*(imports_of(folder) for folder in DRAWN[source])) & DRAWN[target]
    elif data:
        assert all(data in names_in(folder) for end in ends for folder in end)
    else:
        assert len(ends) == 1, "an arrow between two folders must say what it carries"
