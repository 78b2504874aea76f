"""What the pages show runs: configurations and SLOs hold, commands are understood, links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from streams.compile.check import check_paths
from tests.docs.commands import all_commands, command_of
from tests.docs.pages import PAGES, ROOT, Block, anchors, blocks, links, name_of

LANGUAGES = {"yaml", "json", "sh", "expr", "mermaid", "text", "python", "promql"}
"""Languages of blocks; each but `text` and `promql` is run or read by a test."""

CONFIG = """
sources:
  requests: {topic: requests, format: json}
slos: ["*.yaml"]
"""
"""Stands beside SLO files that a page shows without a configuration."""

MAKE_TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

ALL_BLOCKS = [block for page in PAGES for block in blocks(page)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_a_page_shows_hold(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in blocks(page, "python"):
        if "file" in block.options:
            (tmp_path / block.options["file"]).write_text(block.text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    folders: dict[str, list[Path]] = defaultdict(list)
    for block in blocks(page, "yaml"):
        name = block.options.get("file")
        assert name, f"{block}: a YAML block has file=NAME, so that it can be checked"
        path = tmp_path / name
        assert not path.exists(), f"{block}: {name} is there already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
        folders[str(Path(name).parent)].append(path)
    for folder, files in folders.items():
        if not any("sources:" in path.read_text(encoding="utf-8") for path in files):
            config = tmp_path / folder / "config" / "streamgauge.yaml"
            config.parent.mkdir(parents=True)
            config.write_text(CONFIG.replace("*.yaml", "../*.yaml"), encoding="utf-8")
            files.append(config)
        report = check_paths(files, environment={})
        assert report.ok, "\n".join(map(str, report.problems))


@pytest.mark.parametrize("block", [one for one in ALL_BLOCKS if one.language == "json"], ids=str)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


def command_lines(block: Block) -> list[list[str]]:
    """Words of each command; comments, variables set in front and what comes behind a pipe are left out."""
    lines = []
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words:
            ends = [at for at, word in enumerate(words) if word in ("|", ">", "<", "&&")]
            lines.append(words[: ends[0]] if ends else words)
    return lines


@pytest.mark.parametrize("block", [one for one in ALL_BLOCKS if one.language == "sh"], ids=str)
def test_commands_are_understood(block: Block) -> None:
    for program, *words in command_lines(block):
        match program:
            case "streamgauge" if words[0].startswith("-"):
                assert words[0] in ("--help", "--install-completion"), words
            case "streamgauge":
                name, arguments = command_of(words)
                assert name in all_commands(), words
                assert not all_commands()[name].mistake(arguments), words
            case "make":
                assert {word for word in words if "=" not in word} <= MAKE_TARGETS, words
            case "python" if words[0] != "-m":
                assert (ROOT / words[0]).is_file(), words
            case "scripts/lock" | ".ci/run":
                assert (ROOT / program).is_file()


def test_blocks_are_of_languages_that_are_looked_at() -> None:
    unknown = [f"{block}: {block.language}" for block in ALL_BLOCKS if block.language not in LANGUAGES]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        parts = urlsplit(target)
        if parts.scheme:
            assert parts.scheme == "https", f"{target}: a link to the outside is https"
            continue
        file = (page.parent / parts.path).resolve() if parts.path else page
        assert file.exists(), f"{target} does not exist"
        if parts.fragment:
            assert parts.fragment in anchors(file), f"{target}: {sorted(anchors(file))}"
