"""Packages of somebody else, as pip would have installed them: what the pages show, in a folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests.docs.pages import ROOT, blocks


def install_bunyan(folder: Path) -> Path:
    """The format of `docs/formats.md` and its line in a `pyproject.toml`; returns the folder for the path."""
    page = ROOT / "docs" / "formats.md"
    (module,) = blocks(page, "python")
    project = next(block for block in blocks(page, "text") if "entry-points" in block.text)
    groups = tomllib.loads(project.text)["project"]["entry-points"]
    entries = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in groups.items()
    ]
    about = folder / "acme_bunyan-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-bunyan\nVersion: 1.0\n", "utf-8")
    (about / "entry_points.txt").write_text("\n".join(entries), "utf-8")
    (folder / module.options["file"]).write_text(module.text, "utf-8")
    return folder
