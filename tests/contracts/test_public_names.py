"""`import streamgauge` has what notebooks and pages use, told in docstrings, and costs nothing by itself."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

import streamgauge
from tests.docs.pages import PAGES, ROOT, blocks, code, section, table

OURS = {"streamgauge", "streams", "models", "detectors"}

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


def texts() -> Iterator[tuple[str, str]]:
    """Python that users read: the notebooks, and the blocks of all pages; each with its place."""
    for path in NOTEBOOKS:
        yield path.name, path.read_text(encoding="utf-8")
    for page in [*PAGES, ROOT / "notebooks" / "README.md"]:
        for block in blocks(page, "python"):
            yield str(block), block.text


def imports(text: str) -> Iterator[tuple[str, str]]:
    """(module, name) of each import of ours."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS:
            yield from ((node.module, each.name) for each in node.names)
        elif isinstance(node, ast.Import):
            yield from ((each.name, "") for each in node.names if each.name.split(".")[0] in OURS)


def docstring_of(name: str) -> str | None:
    """Of a function or class its own; of a constant the string below it."""
    value = getattr(streamgauge, name)
    if inspect.isroutine(value) or inspect.isclass(value):
        return inspect.getdoc(value)
    (module,) = [
        node.module
        for node in ast.parse((ROOT / "streamgauge" / "__init__.pyi").read_text("utf-8")).body
        if isinstance(node, ast.ImportFrom) and name in {each.name for each in node.names}
    ]
    body = ast.parse(inspect.getsource(import_module(str(module)))).body
    for statement, below in pairwise(body):
        targets = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        if isinstance(statement, ast.Assign) and name in targets and isinstance(below, ast.Expr):
            return str(ast.literal_eval(below.value))
    return None


@pytest.mark.parametrize("name", streamgauge.__all__)
def test_every_name_is_there_and_says_what_it_is(name: str) -> None:
    docstring = docstring_of(name)
    assert docstring
    assert not docstring.startswith(f"{name}("), "made by dataclasses, not written"


def test_notebooks_and_pages_import_nothing_else_of_ours() -> None:
    used = {(place, *found) for place, text in texts() for found in imports(text)}
    assert len({place for place, *_ in used}) > len(NOTEBOOKS)
    others = {(place, module) for place, module, _ in used if module != "streamgauge"}
    assert others == set()
    assert {name for *_, name in used} <= {"", *streamgauge.__all__}


def test_names_that_the_notebooks_page_tells_are_there() -> None:
    rows = table(section(ROOT / "notebooks" / "README.md", "Tables in and out"))
    told = {re.split(r"\W", each)[0] for *_, by in rows for each in code(by)}
    assert told <= set(streamgauge.__all__)
    assert len(told) > len(rows)


def test_the_package_alone_loads_nothing() -> None:
    words = "import json, sys, streamgauge; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = {module.split(".")[0] for module in json.loads(done.stdout)}
    assert loaded & (OURS | {"numpy", "pandas", "pyarrow", "faust"}) == {"streamgauge"}


def test_names_are_listed_for_completion_and_others_refused() -> None:
    assert set(streamgauge.__all__) <= set(dir(streamgauge))
    with pytest.raises(AttributeError, match="no attribute 'Pannel'"):
        streamgauge.Pannel  # type: ignore[attr-defined]  # noqa: B018


def test_the_stub_is_shipped_with_the_package() -> None:
    assert Path(streamgauge.__file__).with_suffix(".pyi").is_file()
    assert '"*.pyi"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
