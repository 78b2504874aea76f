"""The columns that a source must decode, gathered from everything that uses them.

A column is a string as soon as one use needs a string (a label, a comparison with one); conditions on
its number still work, since they read numbers from strings. Only what is added up must be a number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.config.models import Source
from streams.events.batch import Kind
from streams.language.documents import Document, Path
from streams.language.expression import ExpressionError
from streams.language.problems import Findings, Problem, nearest
from streams.language.use import Use

_OWN: Mapping[str, Mapping[str, Kind]] = {
    "access_log": {
        **dict.fromkeys(
            ("client", "user", "method", "path", "query", "protocol", "referrer", "agent", "host"), "string"
        ),
        **dict.fromkeys(("status", "bytes", "duration", "upstream_duration"), "number"),
    },
    "spans": {
        **dict.fromkeys(("name", "kind", "status", "status_message", "trace_id", "span_id"), "string"),
        **dict.fromkeys(("parent_span_id", "scope"), "string"),
        "duration": "number",
    },
    "logs": {
        **dict.fromkeys(("body", "severity", "trace_id", "span_id", "event_name", "scope"), "string"),
        "severity_number": "number",
    },
    "metrics": {**dict.fromkeys(("metric", "unit", "type"), "string"), "value": "number"},
    "influx": {**dict.fromkeys(("metric", "measurement", "field"), "string"), "value": "number"},
    "telegraf": {**dict.fromkeys(("metric", "measurement", "field"), "string"), "value": "number"},
    "prometheus": {"metric": "string", "value": "number"},
    "collectd": {
        **dict.fromkeys(("metric", "host", "plugin", "plugin_instance"), "string"),
        **dict.fromkeys(("type", "type_instance", "dsname", "dstype"), "string"),
        "value": "number",
    },
}
"""Columns that a format makes by itself, by format or OTLP signal."""

_CLOSED = ("collectd",)
"""Formats whose own columns are all there are."""

_OTHERS: Mapping[str, str] = {"influx": "a tag", "telegraf": "a tag", "prometheus": "a label"}
"""What any other column is read as; an attribute where nothing stands here."""


def own_columns(source: Source) -> Mapping[str, Kind]:
    """The columns that a source's format makes by itself; empty where the events name them all."""
    return _OWN.get(source.signal or source.format, {})


LIKENESS = 0.75
"""How like a format's own column another must be to be taken for a slip: `stauts` is, `http_host` is not."""


@dataclass(frozen=True, slots=True)
class _Named:
    """A column where the user wrote it.

    measured : its numbers are added up
    soft     : it is only asked whether it is missing
    text     : the condition it stands in, empty if it stands alone
    """

    column: str
    kind: Kind
    document: Document
    path: Path
    measured: bool = False
    soft: bool = False
    text: str = ""

    def problem(self, expected: str, found: str, suggestion: str = "") -> Problem:
        """A mistake about this column; in a condition a caret points at it."""
        detail = ""
        if self.text:
            found_at = re.search(rf"(?<![\w.`]){re.escape(self.column)}(?![\w.`])", self.text)
            found_at = found_at or re.search(re.escape(self.column), self.text)
            assert found_at is not None, "the column was read from this text"
            error = ExpressionError(self.text, found_at.start(), expected)
            detail = "\n".join(str(error).splitlines()[-2:])
        return self.document.problem(self.path, expected, found, suggestion, detail)


@dataclass(slots=True)
class Columns:
    """Uses of one source's columns, in the order in which they were written."""

    source: Source
    uses: list[_Named] = field(default_factory=list)

    def add(self, use: Use) -> None:
        """Note a label, a measured column, or all columns of a condition."""
        if use.column:
            kind: Kind = "number" if use.measured else "string"
            self.uses.append(_Named(use.column, kind, use.document, use.path, measured=use.measured))
        if use.expression is not None:
            for column, kind in use.expression.columns.items():
                soft = column in use.expression.soft
                text = use.expression.text
                self.uses.append(_Named(column, kind, use.document, use.path, soft=soft, text=text))

    def settle(self, findings: Findings) -> dict[str, Kind]:
        """Kind of every column; unknown and contradictory ones go to `findings`, each once."""
        wanted: dict[str, Kind] = {}
        labels: dict[str, _Named] = {}
        for named in self.uses:
            if named.soft:
                continue
            if named.kind == "string":
                labels.setdefault(named.column, named)
            if wanted.setdefault(named.column, named.kind) != named.kind:
                wanted[named.column] = "string"
        told: set[str] = set()
        for named in self.uses:
            wanted.setdefault(named.column, named.kind)
            if named.column not in told and (
                self._contradicts(named, labels, findings) or self._unknown(named, findings)
            ):
                told.add(named.column)
        return wanted

    def _contradicts(self, named: _Named, labels: Mapping[str, _Named], findings: Findings) -> bool:
        """Whether a column is added up, or scaled by a unit, and a label or text elsewhere."""
        column = named.column
        scaled = column in self.source.fields and self.source.fields[column].scale != 1.0
        if named.kind != "number" or not (named.measured or scaled) or column not in labels:
            return False
        label = labels[column]
        place = f"{label.document.file}:{label.document.line(label.path)}"
        findings.problems.append(
            named.problem(
                "a column used as a number only",
                f"{column}, which is a label or text at {place}",
                "give one of the two a name of its own under fields",
            )
        )
        return True

    def _unknown(self, named: _Named, findings: Findings) -> bool:
        """Whether something was said about a column that the format does not make."""
        own, column = own_columns(self.source), named.column
        if not own or column in self.source.fields:
            return False
        name = self.source.signal or self.source.format
        if column in own:
            if own[column] == "number" or named.kind == "string":
                return False
            findings.problems.append(named.problem("a number column", f"{column}, which is text in {name}"))
            return True
        guess = nearest(column, own, likeness=LIKENESS)
        if name in _CLOSED:
            guess = guess or f"its columns are {', '.join(own)}"
            findings.problems.append(named.problem(f"a column of {name}", column, guess))
            return True
        if self.source.format == "access_log":
            if guess:
                findings.problems.append(named.problem(f"a column of {name}", column, guess))
            else:
                text = f"only lines in JSON can have a column {column}"
                findings.notes.append(named.document.note(named.path, text))
            return True
        if guess:
            other = _OTHERS.get(name, "an attribute")
            text = f"{column} is no column of {name} itself and is read as {other}; {guess}"
            findings.notes.append(named.document.note(named.path, text))
        return bool(guess)
