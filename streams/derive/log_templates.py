"""Columns derived from log messages: the kind of line, and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from models.arrays import EpochMs
from streams.derive.log_signatures import SignatureColumn, parameters
from streams.events.batch import Column, Strings


@dataclass(frozen=True, slots=True)
class Signature:
    """The signature of a message: its words, with what varies masked."""

    name: str
    column: str
    _made: SignatureColumn = field(default_factory=SignatureColumn, repr=False, compare=False)

    @property
    def examples(self) -> Mapping[str, str]:
        """A line for each signature, of those that this process has seen."""
        return self._made.examples

    def make(self, columns: Mapping[str, Column], time_ms: EpochMs) -> Column:
        """Strings [E]; missing where there is no message."""
        messages = columns.get(self.column)
        return self._made.derive(messages) if isinstance(messages, Strings) else Strings.missing(len(time_ms))


@dataclass(frozen=True, slots=True)
class Parameters:
    """The words of a message that its signature masks."""

    name: str
    column: str
    signature: str

    def make(self, columns: Mapping[str, Column], time_ms: EpochMs) -> Column:
        """Strings [E]; missing where there is no message."""
        messages, signatures = columns.get(self.column), columns.get(self.signature)
        if not isinstance(messages, Strings) or not isinstance(signatures, Strings):
            return Strings.missing(len(time_ms))
        return parameters(messages, signatures)
