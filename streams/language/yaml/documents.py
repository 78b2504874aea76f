"""YAML to plain values, with the line of every key and item.

YAML 1.2's core types are read, not those of 1.1: `no` and `on` are strings, `12:30` is no number, and
times stay as written. Duplicate keys are mistakes. Aliases are followed, but a document may not unfold
to more than `VALUE_COUNT_MAX` values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from streams.language.problems import Findings, Note, Problem, show

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of a document down to a value."""

VALUE_COUNT_MAX = 100_000
"""Values a document may hold once its aliases are followed; guards against files made to exhaust memory."""

INTEGER_CHARS_MAX = 40
"""Longest integer read as one; anything longer stays text, and a key that needs a number reports it."""

DEPTH_MAX = 50
"""Deepest nesting; also ends aliases that contain themselves."""


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document.

    value  : dicts, lists and scalars
    lines  : 1-based line of each value, that of its key in a mapping
    hidden : places whose value came from the environment, or was set there, so messages never repeat it
    places : names of other places than a line of the file, such as an environment variable
    """

    file: str
    value: Any = field(repr=False)
    lines: dict[Path, int] = field(repr=False)
    hidden: set[Path] = field(default_factory=set)
    places: dict[Path, str] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """Line of a value, or of the nearest value around it."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 1

    def problem(
        self, path: Path, expected: str, found: str = "", suggestion: str = "", detail: str = ""
    ) -> Problem:
        """A mistake at `path`."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.places:
                place = self.places[path[:end]]
                return Problem("environment", 0, place, expected, found, suggestion, detail)
        return Problem(self.file, self.line(path), dotted(path), expected, found, suggestion, detail)

    def note(self, path: Path, text: str) -> Note:
        """Something to know about the value at `path`."""
        return Note(self.file, self.line(path), dotted(path), text)

    def show(self, path: Path) -> str:
        """The value at `path` as a message may repeat it."""
        if any(path[:end] in self.hidden for end in range(len(path) + 1)):
            return "a value that is not shown"
        return show(self.get(path))

    def get(self, path: Path) -> Any:
        """The value at `path`, or None."""
        value = self.value
        for step in path:
            if not _has(value, step):
                return None
            value = value[step]
        return value


def _has(value: Any, step: str | int) -> bool:
    if isinstance(value, dict):
        return step in value
    return isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value)


def dotted(path: Path) -> str:
    """`sources.requests.windows[0]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f"{'.' if text else ''}{step}"
    return text


class _Loader(yaml.SafeLoader):
    """YAML 1.2 core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def plain_value(text: str) -> Any:
    """The value of an unquoted scalar, as YAML reads it."""
    tag = _Loader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return _scalar(yaml.ScalarNode(tag, text))


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    match node.tag.rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int" if len(text) <= INTEGER_CHARS_MAX:
            return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
        case "float":
            # YAML writes .inf and .nan; Python knows them without the dot.
            return float(text.replace(".", "") if "n" in text.lower() else text)
        case _:
            return text


Substitute: TypeAlias = Callable[[str, bool], tuple[Any, bool] | str | None]
"""Text of a scalar and whether it is unquoted, to its value and whether messages must hide that.

None leaves the scalar as it is; a string says what was expected, since a variable cannot be replaced.
"""


def read_documents(
    file: str, text: str, findings: Findings, substitute: Substitute | None = None
) -> list[Document]:
    """All documents of a YAML file; mistakes of syntax go to `findings`.

    substitute : replaces variables in scalars
    """
    documents: list[Document] = []
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        found = f"the control character U+{error.character:04X}"
        findings.problems.append(Problem(file, line, "", "text that YAML allows", found))
        return documents
    try:
        while loader.check_node():
            node = loader.get_node()
            assert node is not None, "check_node promised one"
            documents.append(_Builder(file, findings, substitute).document(node))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        found = f"a mistake: {error.problem or error.context}"
        if error.problem and error.context and error.context_mark:
            found += f", {error.context} that begins in line {error.context_mark.line + 1}"
        findings.problems.append(Problem(file, mark.line + 1 if mark else 1, "", "valid YAML", found))
    except yaml.YAMLError as error:
        findings.problems.append(Problem(file, 1, "", "valid YAML", " ".join(str(error).split())))
    finally:
        loader.dispose()
    return documents


@dataclass(slots=True)
class _Builder:
    file: str
    findings: Findings
    substitute: Substitute | None
    lines: dict[Path, int] = field(default_factory=dict)
    hidden: set[Path] = field(default_factory=set)
    count: int = 0

    def document(self, node: yaml.Node) -> Document:
        self.lines[()] = node.start_mark.line + 1
        value = self.value(node, ())
        return Document(self.file, value, self.lines, self.hidden)

    def fail(self, node: yaml.Node, path: Path, expected: str, found: str, suggestion: str = "") -> None:
        line = node.start_mark.line + 1
        self.findings.problems.append(Problem(self.file, line, dotted(path), expected, found, suggestion))

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.count += 1
        if self.count > VALUE_COUNT_MAX or len(path) > DEPTH_MAX:
            raise yaml.YAMLError(
                f"more than {VALUE_COUNT_MAX} values or {DEPTH_MAX} levels once aliases are followed"
            )
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return list(self.items(node, path))
        assert isinstance(node, yaml.ScalarNode)
        return self.scalar(node, path)

    def items(self, node: yaml.SequenceNode, path: Path) -> Iterator[Any]:
        for index, item in enumerate(node.value):
            self.lines[*path, index] = item.start_mark.line + 1
            yield self.value(item, (*path, index))

    def scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        replaced = None if self.substitute is None else self.substitute(node.value, node.style is None)
        if replaced is not None:
            if isinstance(replaced, str):
                self.fail(node, path, replaced, "", "")
                return None
            value, hide = replaced
            if hide:
                self.hidden.add(path)
            return value
        return _scalar(node)

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                parts = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for part in parts:
                    inherited = self.value(part, path)
                    if isinstance(inherited, Mapping):
                        merged = {**inherited, **merged}
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self.fail(key_node, path, "a key that is a word", show([]))
                continue
            key = key_node.value
            if key in own:
                self.fail(
                    key_node, (*path, key), "each key once", "it a second time", "remove one of the two"
                )
                continue
            self.lines[*path, key] = key_node.start_mark.line + 1
            own[key] = self.value(value_node, (*path, key))
        return {**merged, **own}
