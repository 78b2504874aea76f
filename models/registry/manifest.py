"""What a registry says of a model: its manifest, the pointers to it, and the announcement of a change.

All are JSON. A reader refuses what it does not know, so that an older worker never half-understands a newer
manifest.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from models.registry.errors import ManifestError
from models.registry.feature_drift import FeatureSample

__all__ = [
    "ROLES",
    "Announcement",
    "Appointment",
    "Manifest",
    "Pointer",
    "Role",
    "config_hash",
    "decode",
    "encode",
    "is_name",
    "is_version",
    "version_name",
]

Role: TypeAlias = Literal["champion", "shadow"]
"""The champion judges; the shadow judges the same panels and alerts no one."""

ROLES: tuple[Role, ...] = ("champion", "shadow")

HISTORY_MAX = 100
"""Appointments that a pointer remembers."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_VERSION = re.compile(r"[0-9]{6}-[0-9a-f]{12}")

Struct = TypeVar("Struct", bound=msgspec.Struct)


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stored model.

    version      : six digits that count up, and the start of a hash of content and manifest
    sha256, size : of the model file, in bytes
    from_ms, to_ms : times of the first and last row it was trained on, milliseconds since 1970
    rows         : steps times series that it was trained on
    features     : names, in the order of the panel
    settings     : the detector's, those that are not its defaults
    metrics      : figures of the backtest on what it was not trained on
    sample       : distribution of the features, by which drift is seen
    config_hash  : of detector and settings
    """

    name: str
    detector: str
    version: str
    sha256: str
    size: int
    from_ms: int
    to_ms: int
    rows: int
    features: tuple[str, ...]
    settings: dict[str, Any]
    metrics: dict[str, float | None]
    sample: tuple[FeatureSample, ...]
    config_hash: str
    code_version: str
    created_ms: int
    note: str = ""

    @property
    def content_hash(self) -> str:
        """Of all that makes it this model: neither its number nor when it was stored."""
        fixed = msgspec.structs.replace(self, version="", created_ms=0)
        return hashlib.sha256(msgspec.json.encode(fixed, order="sorted")).hexdigest()[:12]


class Appointment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version was given a role.

    version  : None where the role was left empty
    previous : the version that a rollback returns to
    """

    version: str | None
    previous: str | None
    at_ms: int
    by: str = ""
    reason: str = ""


class Pointer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which version has a role, and had it before; the last of the history holds now."""

    role: Role
    history: tuple[Appointment, ...] = ()

    @property
    def current(self) -> Appointment | None:
        """What holds now."""
        return self.history[-1] if self.history else None

    @property
    def version(self) -> str | None:
        """The version that has the role."""
        return self.history[-1].version if self.history else None

    def appointed(self, version: str | None, *, at_ms: int, by: str = "", reason: str = "") -> Pointer:
        """This version from now on; the one before is what a rollback returns to."""
        return self._with(Appointment(version, self.version, at_ms, by, reason))

    def rolled_back(self, *, at_ms: int, by: str = "", reason: str = "") -> Pointer:
        """The version before this one; called again, the one before that.

        Raises ManifestError where there is none before.
        """
        target = self.current.previous if self.current else None
        if target is None:
            raise ManifestError(f"no {self.role} was there before, so there is nothing to go back to")
        before = [one for one in self.history if one.version == target]
        return self._with(Appointment(target, before[-1].previous if before else None, at_ms, by, reason))

    def _with(self, appointment: Appointment) -> Pointer:
        return msgspec.structs.replace(self, history=(*self.history, appointment)[-HISTORY_MAX:])


class Announcement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tells workers that a role of a model changed; on a compacted topic, by `key`.

    version, sha256 : None where the role was left empty
    url             : of the registry
    """

    app: str
    name: str
    role: Role
    version: str | None
    sha256: str | None
    url: str
    at_ms: int

    @property
    def key(self) -> bytes:
        """The record's key: one for each role of each model."""
        return f"{self.name}/{self.role}".encode()

    def to_bytes(self) -> bytes:
        """The record's value."""
        return msgspec.json.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Announcement:
        """Raises ManifestError if it is none."""
        announcement = decode(data, cls, "announcement")
        if not (is_name(announcement.name) and is_name(announcement.app)) or (
            announcement.version is not None and not is_version(announcement.version)
        ):
            raise ManifestError(f"announcement: no names of a model: {announcement.name[:80]!r}")
        return announcement


def encode(value: msgspec.Struct) -> bytes:
    """As it is stored: JSON that people can read."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def decode(data: bytes, kind: type[Struct], place: str) -> Struct:
    """Raises ManifestError that tells place and key of what is wrong."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError(f"{place}: {error}") from error


def config_hash(detector: str, settings: dict[str, Any]) -> str:
    """16 hex digits, equal for equal settings of a detector.

    Raises ValueError if a setting is no JSON.
    """
    try:
        text = msgspec.json.encode({"detector": detector, "settings": settings}, order="sorted")
    except (TypeError, msgspec.MsgspecError) as error:
        raise ValueError(f"settings of {detector} must be text, numbers, lists and maps: {error}") from error
    return hashlib.sha256(text).hexdigest()[:16]


def is_name(name: str) -> bool:
    """Whether it may name an app or a model: it becomes a folder."""
    return _NAME.fullmatch(name) is not None


def is_version(version: str) -> bool:
    """Whether it has the form of a version."""
    return _VERSION.fullmatch(version) is not None


def version_name(number: int, content_hash: str) -> str:
    """Such as `000012-9f2c01ab34de`; sorted as text they are sorted by number."""
    return f"{number:06d}-{content_hash}"
