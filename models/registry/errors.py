"""What can be wrong with a stored model. Code that loads one catches `ModelError`, goes on without it, and
counts `reason`.

ModelError
├── ModelMissingError    there is none
├── ModelStorageError    the storage does not answer, or refuses
├── ManifestError        its manifest or pointer cannot be read
├── ModelTooLargeError   larger than the bound, packed or unpacked
├── ModelHashError       not the bytes that its manifest names
├── ModelFormatError     truncated, or no model file at all
└── ModelTypeError       it holds something that is not on the list of what models may hold
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ManifestError",
    "ModelError",
    "ModelFormatError",
    "ModelHashError",
    "ModelMissingError",
    "ModelStorageError",
    "ModelTooLargeError",
    "ModelTypeError",
]


class ModelError(Exception):
    """A model cannot be stored or loaded; the text says where, what was expected, what was found."""

    reason: ClassVar[str] = "error"
    """A stable word for metrics."""


class ModelMissingError(ModelError):
    """There is no such model, version or role."""

    reason = "missing"


class ModelStorageError(ModelError):
    """The storage could not be read or written."""

    reason = "storage"


class ManifestError(ModelError):
    """A manifest, pointer or announcement is not what this version writes."""

    reason = "manifest"


class ModelTooLargeError(ModelError):
    """A model is larger than allowed, as a file or unpacked."""

    reason = "too_large"


class ModelHashError(ModelError):
    """The bytes are not those that the manifest names: damaged, or exchanged."""

    reason = "hash"


class ModelFormatError(ModelError):
    """The bytes are no model file, or not a whole one."""

    reason = "format"


class ModelTypeError(ModelError):
    """A model holds a type that is not allowed."""

    reason = "type"
