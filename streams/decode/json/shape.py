"""The part of a JSON object that a source wants, as a type that msgspec fills directly.

A `Shape` is made once from the wanted paths. It gives a `msgspec.Struct` type that skips everything
else in the object, and for each path the way to take its values out of a list of such structs.
Guarantee: `Shape.from_object` makes of a parsed object, whatever its types, the struct that the typed
decoder would make if it could; values of the wrong kind become missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal, TypeAlias

import msgspec

from streams.decode.strings import float_or_infinity

Step: TypeAlias = str | int
Path: TypeAlias = tuple[Step, ...]
"""Keys and list positions from the top of an event down to a value."""

Use: TypeAlias = Literal["number", "string", "time", "scalar", "any"]
"""What a value is taken for; "scalar" where a path is used in several ways, "any" for walking on."""

_NAN = float("nan")

_TYPES: Mapping[Use, tuple[Any, Any]] = {
    "number": (float | None, _NAN),
    "string": (str | int | float | bool | None, None),
    "time": (int | float | str | None, None),
    "scalar": (int | float | str | bool | None, None),
    "any": (Any, None),
}
"""Type and default of a leaf. A missing number is NaN from the start, so that it costs nothing later."""

_UNFIT = re.compile(r'["\\\x00-\x1f]')


def parse_path(text: str) -> Path:
    """Steps of a dotted path; brackets that hold no list position belong to the key.

    Raises ValueError for keys that msgspec cannot look for.

    >>> parse_path("items[0].http.status")
    ('items', 0, 'http', 'status')
    """
    if _UNFIT.search(text):
        raise ValueError(f"path {text!r}: expected keys without quotes, backslashes and control characters")
    steps: list[Step] = []
    for part in text.split("."):
        match = re.fullmatch(r"(.*?)((?:\[\d{1,6}\])+)", part, re.DOTALL)
        if match is None or not match[1]:
            steps.append(part)
            continue
        steps.append(match[1])
        steps += [int(number) for number in re.findall(r"\d+", match[2])]
    return tuple(steps)


def to_number(value: object) -> float:
    """A scalar as a number; NaN where it is none.

    >>> to_number("200"), to_number(True), to_number("fast")
    (200.0, 1.0, nan)
    """
    if isinstance(value, int):
        return float_or_infinity(value)
    if isinstance(value, float):
        return value
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return _NAN
    return _NAN


def walk(value: object, path: Path) -> object:
    """The value that `path` leads to inside parsed JSON; None where there is none."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and step < len(value) else None
    return value


def attribute_of(key: str) -> str:
    """The struct's attribute for a key of the object, the same in every struct."""
    return "k" + key.encode("utf-8", "surrogatepass").hex()


@dataclass(slots=True)
class _Node:
    """A key of the wanted tree: a leaf with its use, or an object with children."""

    use: Use | None = None
    children: dict[str, _Node] = field(default_factory=dict)
    attribute: str = ""
    type: Any = None

    def add(self, path: Path, use: Use) -> None:
        if self.use == "any":
            return
        if not path:
            clash = bool(self.children) or (self.use is not None and self.use != use)
            self.use = ("any" if self.children or use == "any" else "scalar") if clash else use
        elif isinstance(path[0], int) or self.use is not None:
            self.use = "any"
        else:
            self.children.setdefault(path[0], _Node()).add(path[1:], use)
        if self.use == "any":
            self.children = {}

    def build(self, name: str) -> Any:
        """Make the struct types of this node and those below; returns its own."""
        fields: list[tuple[str, Any, Any]] = []
        for index, (key, child) in enumerate(self.children.items()):
            child.attribute = attribute_of(key)
            if child.children:
                child.build(f"{name}_{index}")
                kind, default = child.type | int | float | str | bool | None, child.type()
            else:
                assert child.use is not None
                kind, default = _TYPES[child.use]
            fields.append((child.attribute, kind, msgspec.field(name=key, default=default)))
        self.type = msgspec.defstruct(name, fields, frozen=name != "Event", gc=False)
        return self.type

    def fill(self, value: Mapping[str, object]) -> Any:
        """The struct of a parsed object."""
        found: dict[str, object] = {}
        for key, child in self.children.items():
            inner = value.get(key)
            if child.children:
                found[child.attribute] = child.fill(inner) if isinstance(inner, dict) else None
            elif child.use == "number":
                found[child.attribute] = to_number(inner)
            elif child.use == "time":
                is_time = isinstance(inner, int | float | str)
                found[child.attribute] = inner if is_time else None if inner is None else "?"
            elif child.use == "any" or isinstance(inner, int | float | str):
                found[child.attribute] = inner
        return self.type(**found)


class Getter:
    """Takes the values of one path out of structs."""

    def __init__(self, attributes: Sequence[str], rest: Path) -> None:
        self._attributes = attributes
        self._rest = rest
        self._fast = attrgetter(".".join(attributes))

    def under(self, attribute: str) -> Getter:
        """The same for what the first step led to, kept as `attribute` of another object."""
        return Getter((attribute, *self._attributes[1:]), self._rest)

    def __call__(self, events: Sequence[Any]) -> list[Any]:
        """Values [E]; None (or NaN, for numbers) where an event has none."""
        try:
            values = list(map(self._fast, events))
        except AttributeError:  # something on the way is null or a scalar in one of the events
            values = [self._careful(event) for event in events]
        return [walk(value, self._rest) for value in values] if self._rest else values

    def _careful(self, event: object) -> object:
        for attribute in self._attributes:
            event = getattr(event, attribute, None)
        return event


class Shape:
    """The wanted paths of an event, see the module's text.

    struct : the type to decode to; its instances may be given other times, everything else is fixed
    """

    def __init__(self, paths: Sequence[tuple[Path, Use]]) -> None:
        self._root = _Node()
        for path, use in paths:
            self._root.add(path, use)
        self.struct: Any = self._root.build("Event")

    def from_object(self, value: Mapping[str, object]) -> Any:
        """The struct of an object that was parsed without types."""
        return self._root.fill(value)

    def getter(self, path: Path) -> Getter:
        """How to take out the values of one of the wanted paths."""
        node = self._root
        attributes: list[str] = []
        for depth, step in enumerate(path):
            if node.use == "any":
                return Getter(attributes, path[depth:])
            node = node.children[str(step)]
            attributes.append(node.attribute)
        return Getter(attributes, ())

    def use(self, path: Path) -> Use:
        """What kind of values `getter(path)` gives: its own use, or a wider one."""
        node = self._root
        for step in path:
            if node.use == "any":
                break
            node = node.children[str(step)]
        assert node.use is not None
        return node.use
