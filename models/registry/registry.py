"""Models in a folder, a bucket or whatever fsspec reaches.

    <url>/<app>/<name>/<version>/manifest.json
    <url>/<app>/<name>/<version>/model.skops
    <url>/<app>/<name>/champion.json, shadow.json

Guarantees. A version never changes: its name holds a hash of its content, and its manifest is written last,
so that a version that is listed is whole. Several writers may store at once; equal content is the same
version, different content different ones, even under one number. A pointer is replaced in one step (where
the storage renames in one step, as file systems do); of two writers at once the later one holds, and what it
saw is its history. What is read is bounded and its hash checked before it is parsed.

Every failure is a ModelError with a `reason`, including those of the storage, so that a caller that loads
a champion can go on without it.
"""

from __future__ import annotations

import glob
import hashlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import fsspec
import msgspec

from models.registry.addresses import passwords_in, without_credentials
from models.registry.errors import (
    ManifestError,
    ModelError,
    ModelHashError,
    ModelMissingError,
    ModelStorageError,
    ModelTooLargeError,
)
from models.registry.manifest import (
    ROLES,
    Announcement,
    Manifest,
    Pointer,
    Role,
    decode,
    encode,
    is_name,
    is_version,
    version_name,
)
from models.registry.model_files import MODEL_BYTES_MAX, unpack_state

__all__ = ["LATEST", "Registry", "StoredModel"]

LATEST = "latest"
"""Stands for the newest version."""

MANIFEST_BYTES_MAX = 4 << 20
"""Bound of a manifest or pointer; a thousand features take 0.5 MB."""

_MANIFEST, _MODEL = "manifest.json", "model.skops"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model as it was loaded: give `state` to the `restore` of the manifest's detector and settings."""

    manifest: Manifest
    state: dict[str, Any]


class Registry:
    """The models of an app.

    url       : any that fsspec knows; a plain path is a folder
    bytes_max : bound of a model's file
    options   : of the file system, such as a bucket's endpoint
    """

    def __init__(
        self,
        url: str,
        app: str,
        *,
        bytes_max: int = MODEL_BYTES_MAX,
        options: Mapping[str, Any] | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        if not is_name(app):
            raise ValueError(f"an app is named by letters, digits, ., _ and -, not {app!r}")
        self.url = without_credentials(url)
        self._passwords = passwords_in(url)
        self.app = app
        self._bytes_max = bytes_max
        self._clock_ms = clock_ms
        with self._storage(self.url):
            self._files, root = fsspec.core.url_to_fs(url, **(options or {}))
        self._root = f"{root.rstrip('/')}/{app}"

    def names(self) -> tuple[str, ...]:
        """Models of the app, sorted."""
        found = self._glob("*", f"*/{_MANIFEST}")
        return tuple(sorted({path.split("/")[-3] for path in found}))

    def versions(self, name: str) -> tuple[str, ...]:
        """Whole versions of a model, the newest last; empty if there is no such model."""
        found = (path.split("/")[-2] for path in self._glob(name, f"*/{_MANIFEST}"))
        return tuple(sorted(version for version in found if is_version(version)))

    def find(self, name: str, which: str) -> str:
        """A version by itself, by the start of its name or of its hash, by role, or `latest`.

        Raises ModelMissingError where none or several are meant.
        """
        if which in ROLES:
            version = self.pointer(name, which).version
            if version is None:
                raise ModelMissingError(f"{name} has no {which}")
            return version
        versions = self.versions(name)
        if not versions:
            raise ModelMissingError(f"there is no model {name} of app {self.app}{self._others()}")
        if which == LATEST:
            return versions[-1]
        found = [one for one in versions if one == which]
        found = found or [one for one in versions if one.startswith(which) or one[7:].startswith(which)]
        if which.isdigit():
            found = found or [one for one in versions if int(one[:6]) == int(which)]
        if len(found) != 1:
            what = f"{len(found)} versions are" if found else "no version is"
            raise ModelMissingError(f"{what} meant by {which!r}; {name} has {', '.join(versions[-5:])}")
        return found[0]

    def manifest(self, name: str, version: str) -> Manifest:
        """What is known of a version."""
        place = f"{name}/{version}/{_MANIFEST}"
        data = self._read(f"{self._version_folder(name, version)}/{_MANIFEST}", MANIFEST_BYTES_MAX, place)
        manifest = decode(data, Manifest, place)
        if (manifest.name, manifest.version) != (name, version):
            raise ManifestError(f"{place} is that of {manifest.name}/{manifest.version}")
        return manifest

    def put(self, manifest: Manifest, model: bytes) -> Manifest:
        """Store a model; the same content again is the same version.

        manifest : its version, hash, size and time of creation are filled in
        model    : as `pack_state` gives it
        Returns the manifest as it is stored.
        """
        if len(model) > self._bytes_max:
            raise ModelTooLargeError(
                f"a model may have {self._bytes_max:,} bytes, this one has {len(model):,}; raise the bound "
                "or train a smaller one"
            )
        whole = msgspec.structs.replace(
            manifest, sha256=hashlib.sha256(model).hexdigest(), size=len(model), created_ms=self._clock_ms()
        )
        content, versions = whole.content_hash, self.versions(whole.name)
        same = [version for version in versions if version.endswith(content)]
        if same:
            return self.manifest(whole.name, same[-1])
        number = int(versions[-1][:6]) + 1 if versions else 1
        whole = msgspec.structs.replace(whole, version=version_name(number, content))
        folder = self._version_folder(whole.name, whole.version)
        self._write(f"{folder}/{_MODEL}", model)
        self._write(f"{folder}/{_MANIFEST}", encode(whole))
        return whole

    def load(self, name: str, which: str = "champion") -> StoredModel:
        """A model's state, after its size, hash and types were checked.

        which : as in `find`
        Raises ModelError for whatever is wrong; nothing else.
        """
        version = self.find(name, which)
        manifest = self.manifest(name, version)
        place = f"{name}/{version}/{_MODEL}"
        data = self._read(f"{self._version_folder(name, version)}/{_MODEL}", self._bytes_max, place)
        if hashlib.sha256(data).hexdigest() != manifest.sha256:
            raise ModelHashError(
                f"{place}: not the file that its manifest names; it was damaged or exchanged. Train again, "
                "or roll back"
            )
        return StoredModel(manifest, unpack_state(data, bytes_max=self._bytes_max))

    def pointer(self, name: str, role: Role) -> Pointer:
        """Which version has a role, and which had it; an empty pointer if none ever had."""
        place = f"{name}/{role}.json"
        try:
            data = self._read(f"{self._folder(name)}/{role}.json", MANIFEST_BYTES_MAX, place)
        except ModelMissingError:
            return Pointer(role)
        pointer = decode(data, Pointer, place)
        if pointer.role != role or not all(
            one is None or is_version(one) for a in pointer.history for one in (a.version, a.previous)
        ):
            raise ManifestError(f"{place}: this is not a pointer to a {role}")
        return pointer

    def appoint(
        self, name: str, role: Role, version: str | None, *, by: str = "", reason: str = ""
    ) -> Announcement:
        """Give a version a role, or leave it empty; the announcement is to be published.

        Raises ModelError for a version that cannot be loaded: it gets no role.
        """
        if version is not None:
            self.load(name, version)
        pointer = self.pointer(name, role).appointed(version, at_ms=self._clock_ms(), by=by, reason=reason)
        return self._point(name, pointer)

    def rollback(self, name: str, role: Role = "champion", *, by: str = "", reason: str = "") -> Announcement:
        """Give the role back to the version that had it before; the announcement is to be published.

        Raises ManifestError where there was none, ModelError if it cannot be loaded any more.
        """
        pointer = self.pointer(name, role).rolled_back(at_ms=self._clock_ms(), by=by, reason=reason)
        self.load(name, str(pointer.version))
        return self._point(name, pointer)

    def announcement(self, name: str, role: Role) -> Announcement:
        """What holds now, as it is announced."""
        pointer = self.pointer(name, role)
        version = pointer.version
        sha256 = None if version is None else self.manifest(name, version).sha256
        at_ms = pointer.current.at_ms if pointer.current else self._clock_ms()
        return Announcement(self.app, name, role, version, sha256, self.url, at_ms)

    def prune(self, name: str, keep: int) -> tuple[str, ...]:
        """Delete all but the newest `keep` versions, those with a role and those a rollback returns to.

        What an interrupted writer left of older versions goes too. Returns the versions deleted.
        """
        if keep < 1:
            raise ValueError(f"at least one version must be kept, not {keep}")
        versions = self.versions(name)
        if len(versions) <= keep:
            return ()
        held = set(versions[-keep:])
        for role in ROLES:
            current = self.pointer(name, role).current
            held |= {one for one in (current and current.version, current and current.previous) if one}
        oldest_kept = versions[-keep]
        folders = {path.split("/")[-2] for path in self._glob(name, "*/*")}
        doomed = sorted(one for one in folders - held if is_version(one) and one < oldest_kept)
        for version in doomed:
            folder = self._version_folder(name, version)
            with self._storage(f"{name}/{version}"):
                # The manifest first: half a version is then no version.
                for file in (f"{folder}/{_MANIFEST}", folder):
                    if self._files.exists(file):
                        self._files.rm(file, recursive=True)
        return tuple(one for one in doomed if one in versions)

    def _point(self, name: str, pointer: Pointer) -> Announcement:
        self._write(f"{self._folder(name)}/{pointer.role}.json", encode(pointer))
        return self.announcement(name, pointer.role)

    def _others(self) -> str:
        names = self.names()
        return f"; there are {', '.join(names)}" if names else "; it has none yet"

    def _folder(self, name: str) -> str:
        if not is_name(name):
            raise ModelMissingError(f"a model is named by letters, digits, ., _ and -, not {name!r}")
        return f"{self._root}/{name}"

    def _version_folder(self, name: str, version: str) -> str:
        if not is_version(version):
            raise ModelMissingError(f"a version is named like 000012-9f2c01ab34de, not {version!r}")
        return f"{self._folder(name)}/{version}"

    def _glob(self, name: str, pattern: str) -> list[str]:
        """Paths that match the pattern in a model's folder, or in all with `*`."""
        if name != "*":
            self._folder(name)  # refuses what is no name, patterns among them
        with self._storage(f"the list of models of {self.app}"):
            self._files.invalidate_cache()  # other writers' versions are wanted too
            found = self._files.glob(f"{glob.escape(self._root)}/{name}/{pattern}")
            return [str(path) for path in found]

    def _read(self, path: str, bytes_max: int, place: str) -> bytes:
        with self._storage(place), self._files.open(path, "rb") as file:
            data: bytes = file.read(bytes_max + 1)
        if len(data) > bytes_max:
            raise ModelTooLargeError(f"{place} may have {bytes_max:,} bytes and has more")
        return data

    def _write(self, path: str, data: bytes) -> None:
        folder, _, name = path.rpartition("/")
        draft = f"{folder}/.{name}.{uuid.uuid4().hex}"
        with self._storage(f"{folder.rpartition('/')[2]}/{name}"):
            self._files.makedirs(folder, exist_ok=True)
            try:
                with self._files.open(draft, "wb") as file:
                    file.write(data)
                self._files.mv(draft, path)
            except BaseException:
                if self._files.exists(draft):
                    self._files.rm(draft)
                raise

    @contextmanager
    def _storage(self, place: str) -> Iterator[None]:
        """Whatever a storage raises as a ModelError: each has errors of its own, and none may stop a caller.

        Some name the address with its password; it is left out, and so is the error, whose trace has it.
        """
        try:
            yield
        except ModelError:
            raise
        except FileNotFoundError:
            raise ModelMissingError(f"{place}: there is none") from None
        except Exception as error:
            text = without_credentials(str(error)) or type(error).__name__
            for password in self._passwords:
                text = text.replace(password, "…")
            raise ModelStorageError(f"{place}: the storage failed: {text}") from None
