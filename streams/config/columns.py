"""The columns that a source must decode, gathered from everything that uses them.

A column is a string as soon as one use needs a string (a label, a comparison with one); conditions on
its number still work, since they read numbers from strings. Only what is added up must be a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.config.models import Source
from streams.decode.batch import Kind
from streams.documents.problems import Findings, nearest
from streams.documents.tree import Document, Path
from streams.openslo.indicator import Use

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
}
"""Columns that a format makes by itself, by format or OTLP signal."""


def own_columns(source: Source) -> Mapping[str, Kind]:
    """The columns that a source's format makes by itself; empty where the events name them all."""
    return _OWN.get(source.signal or source.format, {})


@dataclass(slots=True)
class Columns:
    """Uses of one source's columns, in the order in which they were written."""

    source: Source
    uses: list[tuple[str, Kind, bool, bool, Document, Path]] = field(default_factory=list)

    def add(self, use: Use) -> None:
        """Note a label, a measured column, or all columns of a condition."""
        if use.column:
            kind: Kind = "number" if use.measured else "string"
            self.uses.append((use.column, kind, use.measured, False, use.document, use.path))
        if use.expression is not None:
            for column, kind in use.expression.columns.items():
                soft = column in use.expression.soft
                self.uses.append((column, kind, False, soft, use.document, use.path))

    def settle(self, findings: Findings) -> dict[str, Kind]:
        """Kind of every column; unknown and contradictory ones go to `findings`, each once."""
        wanted: dict[str, Kind] = {}
        labels: dict[str, tuple[Document, Path]] = {}
        for column, kind, _, soft, document, path in self.uses:
            if soft:
                continue
            if kind == "string":
                labels.setdefault(column, (document, path))
            if wanted.setdefault(column, kind) != kind:
                wanted[column] = "string"
        told: set[str] = set()
        for column, kind, measured, _, document, path in self.uses:
            if column in told:
                continue
            scaled = column in self.source.fields and self.source.fields[column].scale != 1.0
            if kind == "number" and (measured or scaled) and column in labels:
                told.add(column)
                other, place = labels[column]
                findings.problems.append(
                    document.problem(
                        path,
                        "a column used as a number only",
                        f"{column}, which is a label or text at {other.file}:{other.line(place)}",
                        "give one of the two a name of its own under fields",
                    )
                )
            if self._unknown(column, kind, document, path, findings):
                told.add(column)
            wanted.setdefault(column, kind)
        return wanted

    def _unknown(self, column: str, kind: Kind, document: Document, path: Path, findings: Findings) -> bool:
        """Whether something was said about a column that the format does not make."""
        own = own_columns(self.source)
        if not own or column in self.source.fields:
            return False
        name = self.source.signal or self.source.format
        if column in own:
            if own[column] == "string" and kind == "number":
                findings.problems.append(
                    document.problem(path, "a number column", f"{column}, which is text in {name}")
                )
                return True
            return False
        guess = nearest(column, own)
        if guess and self.source.format == "access_log":
            findings.problems.append(document.problem(path, f"a column of {name}", column, guess))
            return True
        if self.source.format == "access_log":
            findings.notes.append(document.note(path, f"only lines in JSON can have a column {column}"))
            return True
        if guess:
            text = f"{column} is read as an attribute, since {name} have no such column themselves; {guess}"
            findings.notes.append(document.note(path, text))
            return True
        return False
