"""The columns that a source must decode, gathered from everything that uses them.

A column is a string as soon as one use needs a string (a label, a comparison with one); conditions on
its number still work, since they read numbers from strings. Only what is added up must be a number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.config.models import Source
from streams.decode.format import ANY_PATH
from streams.events.batch import Kind
from streams.language.expression import ExpressionError
from streams.language.problems import Findings, Problem, nearest
from streams.language.yaml.documents import Document, Path
from streams.language.yaml.use import Use

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
        schema, column = self.source.event_schema, named.column
        if schema.others == ANY_PATH or column in self.source.fields:
            return False
        name = self.source.signal or self.source.format
        if column in schema.columns:
            if schema.columns[column] == "number" or named.kind == "string":
                return False
            findings.problems.append(named.problem("a number column", f"{column}, which is text in {name}"))
            return True
        guess = nearest(column, schema.columns, likeness=LIKENESS)
        if schema.others is None or (schema.only and guess):
            guess = guess or f"its columns are {', '.join(schema.columns)}"
            findings.problems.append(named.problem(f"a column of {name}", column, guess))
            return True
        if schema.only:
            text = f"only {schema.only} can have a column {column}"
            findings.notes.append(named.document.note(named.path, text))
            return True
        if guess:
            text = f"{column} is no column of {name} itself and is read as {schema.others}; {guess}"
            findings.notes.append(named.document.note(named.path, text))
        return bool(guess)
