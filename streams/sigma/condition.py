"""A Sigma detection to a condition in the language of expressions.

Guarantee: what can be said is said exactly (strings without regard to case, wildcards, regular expressions
found anywhere, networks by their addresses' text); for anything else an error names the modifier or value.
Sources: Sigma rules specification 2.1.0, its appendix of modifiers, and of the taxonomy of web server logs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.types import (
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SpecialChars,
)

from streams.language.expression import quote_column, quote_text

MODIFIERS = frozenset(
    (
        *(
            "contains",
            "startswith",
            "endswith",
            "all",
            "cased",
            "re",
            "i",
            "ignorecase",
            "m",
            "multiline",
            "s",
        ),
        *("dotall", "cidr", "gt", "gte", "lt", "lte", "exists", "fieldref", "neq", "windash", "base64"),
        *("base64offset", "wide", "utf16", "utf16be"),
    )
)
"""Those that have a meaning for the text and numbers of events."""

TAXONOMY: Mapping[str, str] = {
    "c-ip": "client",
    "src_ip": "client",
    "cs-username": "user",
    "cs-method": "method",
    "cs-uri-stem": "path",
    "cs-uri": "path",
    "c-uri": "path",
    "cs-uri-query": "query",
    "c-uri-query": "query",
    "cs-user-agent": "agent",
    "c-useragent": "agent",
    "sc-status": "status",
    "sc-bytes": "bytes",
}
"""Sigma's names of what web servers log, by the kinds of columns that an entry of the configuration names."""

_ACCESS_LOG = {
    "cs-referer": "referrer",
    "cs-referrer": "referrer",
    "cs-host": "host",
    "cs-version": "protocol",
}
"""Further columns of access logs."""

_SIGNS = {"LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}


class SigmaUnsupportedError(ValueError):
    """Something in a rule that no condition over columns can say."""


def column_of(field: str, columns: Mapping[str, str]) -> str:
    """The column that a rule's field means: by Sigma's taxonomy, else by its own name."""
    kind = TAXONOMY.get(field)
    if kind is not None and kind in columns:
        return columns[kind]
    return _ACCESS_LOG.get(field, field)


def condition_text(
    node: object, columns: Mapping[str, str], numbers: Collection[str], body: str | None
) -> str:
    """The condition that a parsed detection means.

    columns : kinds of columns to what the source calls them
    numbers : columns that hold numbers, so that "404" between quotes is one too
    body    : the column that keywords are sought in; None where a source has no free text

    Raises SigmaUnsupportedError.
    """

    def say(part: object) -> str:
        return condition_text(part, columns, numbers, body)

    match node:
        case ConditionAND():
            return _joined(node.args, " and ", say)
        case ConditionOR():
            return _joined(node.args, " or ", say)
        case ConditionNOT():
            return f"not ({say(node.args[0])})"
        case ConditionFieldEqualsValueExpression():
            column = column_of(node.field, columns)
            return _equals(quote_column(column), node.value, columns, numeric=column in numbers)
        case ConditionValueExpression():
            if body is None:
                raise SigmaUnsupportedError("keywords without a field, where a source has no free text")
            return _contains(quote_column(body), node.value)
    raise SigmaUnsupportedError(f"a part of type {type(node).__name__}")


def _joined(parts: Collection[object], sign: str, say: Callable[[object], str]) -> str:
    return "(" + sign.join(say(part) for part in parts) + ")"


def _equals(column: str, value: object, columns: Mapping[str, str], *, numeric: bool) -> str:
    match value:
        case SigmaString():
            return _text(column, value, numeric=numeric)
        case SigmaNumber():
            return f"{column} == {_number(value.number)}"
        case SigmaBool():
            return f'lower({column}) == "{str(value.boolean).lower()}"'
        case SigmaNull():
            return f"missing({column})"
        case SigmaExists():
            return f"not missing({column})" if value.exists else f"missing({column})"
        case SigmaCompareExpression():
            return f"{column} {_SIGNS[value.op.name]} {_number(value.number.number)}"
        case SigmaRegularExpression():
            return f"matches({column}, {quote_text(_anywhere(value))})"
        case SigmaCIDRExpression():
            patterns = [SigmaString(pattern) for pattern in value.expand()]
            return "(" + " or ".join(_text(column, pattern) for pattern in patterns) + ")"
        case SigmaFieldReference():
            if value.starts_with or value.ends_with:
                raise SigmaUnsupportedError("fieldref with startswith or endswith")
            return f"{column} == {quote_column(column_of(value.field, columns))}"
    raise SigmaUnsupportedError(f"a value of type {type(value).__name__.removeprefix('Sigma')}")


def _text(column: str, value: SigmaString, *, numeric: bool = False) -> str:
    """Equality, or the cheapest function that says the same of its wildcards."""
    cased = isinstance(value, SigmaCasedString)
    parts = [part if cased or not isinstance(part, str) else part.lower() for part in value.s]
    if any(not isinstance(part, str | SpecialChars) for part in parts):
        raise SigmaUnsupportedError("a placeholder (%name%); write its values into the rule")
    subject = column if cased else f"lower({column})"
    plain = "".join(part for part in parts if isinstance(part, str))
    shape = [part for part in parts if not isinstance(part, str)]
    many = SpecialChars.WILDCARD_MULTI
    if not shape:
        if numeric and re.fullmatch(r"[0-9]+", plain):
            return f"{column} == {plain}"
        return f"{subject} == {quote_text(plain)}" if plain else f"missing({column})"
    if not plain and shape == [many]:
        return f"not missing({column})"
    if parts == [many, plain, many]:
        return f"contains({subject}, {quote_text(plain)})"
    if parts == [plain, many]:
        return f"starts_with({subject}, {quote_text(plain)})"
    if parts == [many, plain]:
        return f"ends_with({subject}, {quote_text(plain)})"
    return f"matches({subject}, {quote_text(f'(?s){_pattern(parts)}')})"


def _pattern(parts: Sequence[str | SpecialChars]) -> str:
    """Wildcards as a regular expression whose time does not grow faster than the text.

    What stands between two `*` may be taken where it is found first: if anything matches, that does.
    """
    pieces = [""]
    for part in parts:
        if part == SpecialChars.WILDCARD_MULTI:
            pieces.append("")
        else:
            pieces[-1] += re.escape(part) if isinstance(part, str) else "."
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    return first + "".join(f"(?>.*?{piece})" for piece in middle if piece) + f".*{last}"


def _contains(column: str, value: object) -> str:
    if not isinstance(value, SigmaString):
        raise SigmaUnsupportedError("keywords that are not text")
    many = SpecialChars.WILDCARD_MULTI
    inner = [*value.s]
    wide = SigmaString()
    wide.s = [*([] if inner[:1] == [many] else [many]), *inner, *([] if inner[-1:] == [many] else [many])]
    return _text(column, wide)


def _anywhere(value: SigmaRegularExpression) -> str:
    """A pattern for the whole value that holds where the rule's is found in it."""
    flags = "".join(sorted(flag.name[0].lower() for flag in value.flags))
    inner = f"(?{flags}:{value.regexp})" if flags else f"(?:{value.regexp})"
    found = f"(?s:.*){inner}(?s:.*)"
    try:
        re.compile(found)
    except re.error as error:
        raise SigmaUnsupportedError(f"a regular expression that cannot be read: {error}") from error
    return found


def _number(value: float) -> str:
    if value < 0:
        return f"-{_number(-value)}"
    return str(int(value)) if float(value).is_integer() else repr(float(value))
