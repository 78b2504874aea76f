"""`streamgauge check`: all errors in configurations and SLO files, and notes on what is worth knowing.

A file with `apiVersion` and `kind` holds OpenSLO objects, any other is a configuration. SLO files that a
configuration names are checked against its sources; all others by themselves. In a folder, files that
are neither are left out with a note.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.compile.configuration import build_plan, slo_files
from streams.config.environment import shield
from streams.config.load import read_config, read_text
from streams.config.models import Config
from streams.language.problems import Findings, Note, Problem
from streams.language.yaml.documents import read_documents
from streams.openslo.objects import KINDS
from streams.openslo.read import Library, read_objects
from streams.openslo.resolve import Context, resolve_slos

SUFFIXES = (".yaml", ".yml")

_OPENSLO_LINE = re.compile(r"^[ -]*apiVersion:\s*[\"']?openslo/", re.MULTILINE)
_CONFIG_LINE = re.compile(rf"^({'|'.join(Config.model_fields)}):", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found.

    files    : the files that were checked, those that a configuration names included
    problems : every mistake, by file and line
    notes    : what holds, but is worth knowing
    """

    files: tuple[str, ...]
    problems: tuple[Problem, ...]
    notes: tuple[Note, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def check_paths(paths: Sequence[Path], environment: Mapping[str, str] | None = None) -> Report:
    """Check configurations, SLO files, and folders of them.

    environment : variables for `${VAR}` and overrides, `os.environ` by default
    """
    findings = Findings()
    variables = os.environ if environment is None else environment
    configs: list[Config] = []
    slo_texts: dict[Path, str] = {}
    files: list[str] = []
    for path, explicit in _files(paths, findings):
        text = read_text(path, findings)
        if text is None:
            continue
        sort = _sort(path, text)
        if sort == "other" and not explicit:
            findings.notes.append(Note(str(path), 0, "", "left out: neither a configuration nor OpenSLO"))
            continue
        files.append(str(path))
        if sort == "openslo":
            slo_texts[path] = text
            continue
        config = read_config(path, text, variables, findings)
        if config is not None:
            configs.append(config)
    named: set[Path] = set()
    given = {path.resolve() for path in slo_texts}
    for config in configs:
        for file in slo_files(config, Findings()):
            named.add(file.resolve())
            if file.resolve() not in given:
                files.append(str(file))
        build_plan(config, findings)
    library = Library()
    for path, text in slo_texts.items():
        if path.resolve() not in named:
            read_objects(str(path), text, library, findings)
    resolve_slos(library, Context(), findings)
    return Report(
        tuple(dict.fromkeys(files)),
        tuple(sorted(dict.fromkeys(findings.problems))),
        tuple(sorted(dict.fromkeys(findings.notes))),
    )


def format_report(report: Report) -> str:
    """A line for each mistake and note (an expression brings two more), then the sum."""
    lines = [str(problem) for problem in report.problems] + [str(note) for note in report.notes]
    files = _count(len(report.files), "file")
    if report.ok:
        lines.append(f"ok: {files} checked")
    else:
        lines.append(f"{_count(len(report.problems), 'mistake')} in {files}")
    return "\n".join(lines)


def report_json(report: Report) -> dict[str, Any]:
    """The report for a script."""
    return {
        "ok": report.ok,
        "files": list(report.files),
        "problems": [
            {
                "file": problem.file,
                "line": problem.line or None,
                "key": problem.key,
                "expected": problem.expected,
                "found": problem.found,
                "suggestion": problem.suggestion,
                "message": str(problem),
            }
            for problem in report.problems
        ],
        "notes": [
            {"file": note.file, "line": note.line or None, "key": note.key, "text": note.text}
            for note in report.notes
        ],
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _files(paths: Sequence[Path], findings: Findings) -> Iterable[tuple[Path, bool]]:
    """Each file once, and whether it was named itself; a folder gives its YAML files, hidden ones apart."""
    seen: set[Path] = set()
    for path in paths:
        found = [path]
        if path.is_dir():
            found = sorted(
                file
                for file in path.rglob("*")
                if file.suffix in SUFFIXES
                and file.is_file()
                and not any(part.startswith(".") for part in file.relative_to(path).parts)
            )
            if not found:
                findings.problems.append(Problem(str(path), 0, "", "YAML files in the folder", "none"))
        for file in found:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file, not path.is_dir()


def _sort(path: Path, text: str) -> str:
    """`openslo`, `config` or `other`, by the keys at the top of the documents."""
    unread = Findings()
    documents = read_documents(str(path), shield(text), unread)
    if unread.problems:
        # The mistake may hide the keys, so their spelling in the text has to do.
        found = _OPENSLO_LINE.search(text), _CONFIG_LINE.search(text)
        return "openslo" if found[0] else "config" if found[1] else "other"
    tops: list[dict[str, Any]] = []
    for document in documents:
        values = document.value if isinstance(document.value, list) else [document.value]
        tops += [value for value in values if isinstance(value, dict)]
    for top in tops:
        if str(top.get("apiVersion", "")).startswith("openslo") or str(top.get("kind")) in KINDS:
            return "openslo"
        if "apiVersion" in top or "kind" in top:
            return "other"
    if any(key in Config.model_fields for top in tops for key in top):
        return "config"
    return "other"
