"""Text of an expression to a tree: tokens, nodes, and a precedence-climbing parser.

Loosest to tightest: `or`, `and`, `not`, comparisons and `in`, `+ -`, `* /`, unary minus. Every node
knows its place in the text, so that later errors can point at it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias

from streams.language.duration import UNIT_SECONDS, parse_duration

NESTING_MAX = 64
"""Deepest nesting accepted; keeps hostile text from exhausting the stack."""


class ExpressionError(ValueError):
    """An expression that cannot be understood; `str()` shows the text with a caret under the place.

    text     : the whole expression
    position : 0-based column at which the mistake begins
    message  : what is wrong
    hint     : how to fix it, or empty
    """

    def __init__(self, text: str, position: int, message: str, hint: str = "") -> None:
        self.text = text
        self.position = position
        self.message = message
        self.hint = hint
        super().__init__(text, position, message, hint)

    def __str__(self) -> str:
        first = self.message + (f"; {self.hint}" if self.hint else "")
        start = self.text.rfind("\n", 0, self.position) + 1
        line = self.text[start:].split("\n", 1)[0].replace("\t", " ")
        return f"{first}\n  {line}\n  {' ' * (self.position - start)}^"


@dataclass(frozen=True, slots=True)
class Name:
    """A column."""

    at: int
    name: str


@dataclass(frozen=True, slots=True)
class Number:
    """A number or a duration in seconds; `truth` marks the words true and false."""

    at: int
    value: float
    truth: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    at: int
    value: str


@dataclass(frozen=True, slots=True)
class Not:
    at: int
    operand: Node


@dataclass(frozen=True, slots=True)
class Junction:
    """`and` or `or` of two conditions."""

    at: int
    op: Literal["and", "or"]
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Compare:
    at: int
    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class In:
    at: int
    operand: Node
    items: tuple[Number | Text, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Arithmetic:
    at: int
    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Negative:
    at: int
    operand: Node


@dataclass(frozen=True, slots=True)
class Call:
    at: int
    function: str
    arguments: tuple[Node, ...]


Node: TypeAlias = Name | Number | Text | Not | Junction | Compare | In | Arithmetic | Negative | Call

COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")

_INSTEAD = {
    "&&": "write `and`",
    "||": "write `or`",
    "&": "write `and`",
    "|": "write `or`",
    "=": "write `==` to compare",
    "===": "write `==`",
    "<>": "write `!=`",
    "!": "write `not`",
    "=~": 'write `matches(column, "pattern")`',
    "!~": 'write `not matches(column, "pattern")`',
    "**": "only + - * / are known",
    "//": "only + - * / are known",
    "%": "only + - * / are known",
    ";": "write one expression",
    "{": "columns are written without braces",
}
"""Spellings of other languages, and what to write here."""

_KEYWORDS = {"and", "or", "not", "in", "true", "false"}
_NOTHING = {"null", "none", "nil", "undefined"}

_UNITS = "|".join(sorted(UNIT_SECONDS, key=len, reverse=True))
_TOKEN = re.compile(
    rf"""
    (?P<space>\s+)
  | (?P<duration>[0-9]+(?:\.[0-9]+)?(?:{_UNITS})(?:[0-9]+(?:\.[0-9]+)?(?:{_UNITS}))*(?![\w.]))
  | (?P<number>(?:[0-9][0-9_]*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))
  | (?P<word>[A-Za-z_@][\w@]*(?:\.[\w@]+)*)
  | (?P<quoted>`[^`\n]+`)
  | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
  | (?P<other>===|&&|\|\||=~|!~|<>|\*\*|//)
  | (?P<op>==|!=|<=|>=|[<>+\-*/(),\[\]])
    """,
    re.VERBOSE,
)

_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            _refuse_character(text, at)
        kind = found.lastgroup or ""
        if kind == "other":
            raise ExpressionError(text, at, f"unknown operator {found[0]}", _INSTEAD[found[0]])
        if kind == "word" and found[0] in _KEYWORDS:
            kind = "keyword"
        if kind != "space":
            yield _Token(kind, found[0], at)
        at = found.end()
    yield _Token("end", "", len(text))


def _refuse_character(text: str, at: int) -> NoReturn:
    character = text[at]
    if character in "\"'`":
        raise ExpressionError(text, at, f"the quote {character} is not closed")
    if character.isdigit():
        word = re.match(r"[\w.]+", text[at:])
        found = word[0] if word else character
        raise ExpressionError(
            text,
            at,
            f"{found} is neither a number nor a duration",
            "durations look like 500ms, 1.5s, 5m, 1h30m",
        )
    raise ExpressionError(text, at, f"unexpected character {character}", _INSTEAD.get(character, ""))


def quote_column(name: str) -> str:
    """A column as an expression writes it: between backquotes if it would be read as something else."""
    found = _TOKEN.fullmatch(name)
    plain = found is not None and found.lastgroup == "word" and name not in _KEYWORDS
    return name if plain and name.lower() not in _NOTHING else f"`{name}`"


def quote_text(text: str) -> str:
    """A string as an expression writes it: between double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def parse(text: str) -> Node:
    """The tree of `text`; raises ExpressionError."""
    if not text.strip():
        raise ExpressionError(text, 0, "the expression is empty", "write a condition such as status < 500")
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0

    def parse(self) -> Node:
        node = self._or()
        token = self._peek()
        if token.kind != "end":
            self._refuse(token)
        return node

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _advance(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _accept(self, *texts: str) -> _Token | None:
        token = self._peek()
        if token.kind in ("op", "keyword") and token.text in texts:
            return self._advance()
        return None

    def _expect(self, text: str, why: str) -> None:
        if self._accept(text) is None:
            token = self._peek()
            found = token.text or "the end"
            raise ExpressionError(self._text, token.at, f"expected {text} {why}, found {found}")

    def _refuse(self, token: _Token) -> NoReturn:
        if token.kind == "end":
            raise ExpressionError(self._text, token.at, "the expression ends too early")
        hint = ""
        if token.text.lower() in ("and", "or", "not", "in", "true", "false") and token.kind == "word":
            hint = f"write {token.text.lower()} in small letters"
        elif token.text == "not":
            hint = "write `not in` or put `not` before the whole condition"
        elif token.kind in ("word", "quoted", "number", "duration", "text"):
            hint = "an operator such as ==, and, or is missing before it"
        elif token.text == "-" or token.kind == "other":
            hint = "put names with odd characters between backquotes"
        raise ExpressionError(self._text, token.at, f"unexpected {token.text}", hint)

    def _or(self) -> Node:
        self._depth += 1
        if self._depth > NESTING_MAX:
            raise ExpressionError(
                self._text,
                self._peek().at,
                f"nested deeper than {NESTING_MAX} levels",
                "split the expression",
            )
        node = self._and()
        while token := self._accept("or"):
            node = Junction(token.at, "or", node, self._and())
        self._depth -= 1
        return node

    def _and(self) -> Node:
        node = self._not()
        while token := self._accept("and"):
            node = Junction(token.at, "and", node, self._not())
        return node

    def _not(self) -> Node:
        negations = []
        while token := self._accept("not"):
            negations.append(token.at)
        node = self._comparison()
        # An even number of negations cancels out; only the parity needs a node.
        return Not(negations[0], node) if len(negations) % 2 else node

    def _comparison(self) -> Node:
        left = self._sum()
        node: Node | None = None
        while True:
            if token := self._accept(*COMPARISONS):
                right = self._sum()
                link: Node = Compare(token.at, token.text, left, right)
                left = right
            elif self._peek().text in ("in", "not") and self._peek().kind == "keyword":
                start = self._advance()
                if start.text == "not" and self._accept("in") is None:
                    self._refuse(start)
                link = In(start.at, left, self._items(), start.text == "not")
            else:
                return left if node is None else node
            node = link if node is None else Junction(link.at, "and", node, link)
            if isinstance(link, In):
                return node

    def _items(self) -> tuple[Number | Text, ...]:
        opening = self._accept("[", "(")
        if opening is None:
            token = self._peek()
            raise ExpressionError(
                self._text, token.at, "expected a list after `in`", 'write in ["a", "b"] or in [500, 503]'
            )
        closing = "]" if opening.text == "[" else ")"
        items: list[Number | Text] = []
        while self._accept(closing) is None:
            token = self._peek()
            item = self._unary()
            if not isinstance(item, Number | Text):
                raise ExpressionError(
                    self._text, token.at, "a list holds only numbers or only quoted strings"
                )
            items.append(item)
            if self._accept(",") is None:
                self._expect(closing, "at the end of the list")
                break
        if not items:
            raise ExpressionError(self._text, opening.at, "the list is empty")
        return tuple(items)

    def _sum(self) -> Node:
        node = self._product()
        while token := self._accept("+", "-"):
            node = Arithmetic(token.at, token.text, node, self._product())
        return node

    def _product(self) -> Node:
        node = self._unary()
        while token := self._accept("*", "/"):
            node = Arithmetic(token.at, token.text, node, self._unary())
        return node

    def _unary(self) -> Node:
        signs = []
        while token := self._accept("-", "+"):
            signs.append(token)
        node = self._atom()
        if sum(sign.text == "-" for sign in signs) % 2 == 0:
            return node
        if isinstance(node, Number) and not node.truth:
            return Number(signs[0].at, -node.value)
        return Negative(signs[0].at, node)

    def _atom(self) -> Node:
        token = self._advance()
        if token.kind == "number":
            return Number(token.at, float(token.text.replace("_", "")))
        if token.kind == "duration":
            return Number(token.at, parse_duration(token.text))
        if token.kind == "text":
            return Text(token.at, self._unescape(token))
        if token.kind == "quoted":
            return Name(token.at, token.text[1:-1])
        if token.text in ("true", "false") and token.kind == "keyword":
            return Number(token.at, float(token.text == "true"), truth=True)
        if token.kind == "word":
            return self._call(token) if self._peek().text == "(" else self._name(token)
        if token.text == "(" and token.kind == "op":
            node = self._or()
            self._expect(")", "to close the parenthesis")
            return node
        self._refuse(token)

    def _name(self, token: _Token) -> Node:
        if token.text.lower() in _NOTHING:
            raise ExpressionError(
                self._text,
                token.at,
                f"{token.text} is not a value here",
                "write missing(column) or not missing(column)",
            )
        return Name(token.at, token.text)

    def _call(self, token: _Token) -> Node:
        self._advance()
        arguments: list[Node] = []
        while self._accept(")") is None:
            arguments.append(self._or())
            if self._accept(",") is None:
                self._expect(")", f"after the arguments of {token.text}")
                break
        return Call(token.at, token.text, tuple(arguments))

    def _unescape(self, token: _Token) -> str:
        """The string between the quotes; only the usual escapes change, so that regexes stay readable."""
        return re.sub(
            r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), token.text[1:-1], flags=re.DOTALL
        )
