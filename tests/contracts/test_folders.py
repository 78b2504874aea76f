"""Every folder says what it is for and what it may import, as the contracts in `pyproject.toml` have it."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PACKAGES = ("streams", "detectors", "models")

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
    "contracts"
]

LAYERS = {container: one["layers"] for one in CONTRACTS for container in one.get("containers", [""])}
"""Layers of each package, the highest first; of the packages themselves under an empty name."""

FOLDERS = sorted({path.parent.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("*.py")})


def layers_below(package: str, name: str) -> list[list[str]]:
    """Names in each layer that the layer of `name` may import, the next one first."""
    layers = [sorted(part.strip() for part in layer.split("|")) for layer in LAYERS[package]]
    (own,) = (number for number, layer in enumerate(layers) if name in layer)
    return layers[own + 1 :]


def may_import(folder: Path) -> str:
    """The sentence that a folder's docstring ends with."""
    package, *names = folder.parts
    if len(names) > 1:
        return f"May import what `{names[0]}` may."
    below = [*(layers_below(package, names[0]) if names else []), *layers_below("", package)]
    if not below:
        return "May import nothing else of this project."
    more = " and below" if len(below) > 1 else ""
    return f"May import {', '.join(f'`{name}`' for name in below[0])}{more}."


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_a_folder_says_what_it_is_for_and_what_it_may_import(folder: Path) -> None:
    init = ROOT / folder / "__init__.py"
    text = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) if init.is_file() else None
    assert text, f"{folder}/__init__.py needs a docstring: what comes in, what goes out, what it may import"
    assert text.endswith(may_import(folder)), f"{folder}/__init__.py should end with: {may_import(folder)}"
    assert text.split("May import")[0].strip(), f"{folder}/__init__.py does not say what the folder is for"
