"""A configuration from its file: YAML, variables, overrides, then the models, then what lies around it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from streams.config.environment import apply_overrides, shield, substitution
from streams.config.models import Config
from streams.language.problems import ConfigError, Findings, Problem
from streams.language.yaml.documents import Document, read_documents
from streams.language.yaml.validation import validate_leniently

FILE_BYTES_MAX = 4_000_000
"""Largest file read; a configuration is a few kilobytes, so anything bigger is another file by mistake."""


def load_config(path: Path | str, environment: Mapping[str, str] | None = None) -> Config:
    """Read a configuration; raises ConfigError with every mistake in it.

    environment : variables, `os.environ` by default
    """
    findings = Findings()
    text = read_text(Path(path), findings)
    config = None
    if text is not None:
        config = read_config(Path(path), text, os.environ if environment is None else environment, findings)
    if config is None or findings.problems:
        raise ConfigError(findings.problems)
    return config


def read_config(path: Path, text: str, environment: Mapping[str, str], findings: Findings) -> Config | None:
    """The configuration in `text`, the content of `path`; mistakes go to `findings`.

    After a mistake the result is what holds without the wrong parts, good for looking for more mistakes
    and for nothing else; None if nothing holds.
    """
    before = len(findings.problems)
    documents = read_documents(str(path), shield(text), findings, substitution(environment))
    if not documents:
        if len(findings.problems) == before:
            findings.problems.append(Problem(str(path), 1, "", "a configuration", "an empty file"))
        return None
    document = documents[0]
    if len(documents) > 1:
        findings.problems.append(
            Problem(str(path), documents[1].line(()), "", "one configuration in a file", "a second document")
        )
    if not isinstance(document.value, dict):
        findings.problems.append(document.problem((), "a mapping", document.show(())))
        return None
    # A value that could not be substituted reads as None; to say more about it would mislead.
    unread = len(findings.problems) > before
    apply_overrides(document, environment, findings)
    inner = Findings()
    config = validate_leniently(Config, document, (), inner)
    told = {(problem.file, problem.key) for problem in findings.problems} if unread else set()
    findings.problems += [problem for problem in inner.problems if (problem.file, problem.key) not in told]
    if config is None:
        return None
    config._path, config._document = path, document
    _find_files(config, document, findings)
    return config


def _find_files(config: Config, document: Document, findings: Findings) -> None:
    for key in ("ca_file", "cert_file", "key_file"):
        file = getattr(config.broker.security, key)
        if file is not None and not config.resolve(file).is_file():
            place = ("broker", "security", key)
            findings.problems.append(
                document.problem(
                    place, "an existing file", document.show(place), "paths are relative to the configuration"
                )
            )


def read_text(path: Path, findings: Findings) -> str | None:
    """Text of a UTF-8 file, or None and a problem."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        findings.problems.append(Problem(str(path), 0, "", "a file", "nothing there"))
        return None
    except OSError as error:
        findings.problems.append(
            Problem(str(path), 0, "", "a readable file", error.strerror or type(error).__name__)
        )
        return None
    if len(data) > FILE_BYTES_MAX:
        findings.problems.append(
            Problem(str(path), 0, "", f"at most {FILE_BYTES_MAX} bytes", f"{len(data)} bytes")
        )
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        findings.problems.append(Problem(str(path), line, "", "text in UTF-8", "bytes that are not"))
        return None
