"""Where a configuration uses columns, so that a mistake about one is told at its line."""

from __future__ import annotations

from dataclasses import dataclass

from streams.language.expression import Expression
from streams.language.yaml.documents import Document, Path


@dataclass(frozen=True, slots=True)
class Use:
    """A column or a condition of a source, and where the user wrote it.

    measured : the column's numbers are added up, so it cannot be a string
    """

    document: Document
    path: Path
    column: str = ""
    expression: Expression | None = None
    measured: bool = False
