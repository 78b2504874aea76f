"""Labels in a file: a JSON object a line, appended, never changed."""

from __future__ import annotations

from pathlib import Path

from detectors.feedback.labels import Label, LabelError

__all__ = ["LabelFileError", "append_label", "read_labels"]


class LabelFileError(ValueError):
    """A file of labels that cannot be read or written; says where."""


def read_labels(path: Path) -> tuple[Label, ...]:
    """All labels, those replaced and removed among them. Raises LabelFileError."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise LabelFileError(f"{path}: cannot be read ({error.strerror})") from error
    labels = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            labels.append(Label.from_bytes(line))
        except LabelError as error:
            raise LabelFileError(f"{path}:{number}: no label: {error}") from error
    return tuple(labels)


def append_label(path: Path, label: Label) -> None:
    """Raises LabelFileError."""
    try:
        with path.open("ab") as file:
            file.write(label.to_bytes() + b"\n")
    except OSError as error:
        raise LabelFileError(f"{path}: cannot be written ({error.strerror})") from error
