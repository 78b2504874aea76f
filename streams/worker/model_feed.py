"""Trained models as they are announced: loaded off the event loop, and handed to the detectors.

Whatever is wrong with a model (it is missing, damaged, too large, of another version), it is counted and
said, the model before stays in charge, and the stream never waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection
from typing import TypeAlias

from models.registry.errors import ModelError
from models.registry.manifest import ROLES, Announcement, Role
from models.registry.registry import Registry, StoredModel

logger = logging.getLogger(__name__)

REFUSED = "refused"
"""Why a model could not be used that was loaded whole: the detector does not take it."""

OnModel: TypeAlias = Callable[[str, Role, StoredModel | None], None]
"""Told the name of a model, its role, and the model; None where the role is empty."""


class ModelFeed:
    """The models that this worker's detectors use.

    registry : opened when it is first needed; may raise ModelError, also later
    names    : models that anybody here wants
    """

    def __init__(self, registry: Callable[[], Registry], names: Collection[str], on_model: OnModel) -> None:
        self._open = registry
        self._names = frozenset(names)
        self._on_model = on_model
        self._registry: Registry | None = None
        self._wanted: asyncio.Queue[tuple[str, Role, str | None]] = asyncio.Queue()
        self.versions: dict[tuple[str, Role], str] = {}
        """Version in each role of each model; absent where there is none."""
        self.failures: Counter[tuple[str, str]] = Counter()
        """(model, reason) to failures."""

    def handle(self, _key: bytes | None, value: bytes | None) -> None:
        """Take in a record of the models topic."""
        if value is None:
            return
        try:
            told = Announcement.from_bytes(value)
        except ModelError as error:
            self.failures["", error.reason] += 1
            logger.error("A record of the models topic is not an announcement: %s", error)
            return
        if told.name in self._names:
            self._wanted.put_nowait((told.name, told.role, told.version))

    async def run(self) -> None:
        """Load announced models forever, after those that the registry itself names."""
        for name in sorted(self._names):
            for role in ROLES:
                await self._follow_pointer(name, role)
        while True:
            name, role, version = await self._wanted.get()
            await self._use(name, role, version)

    async def _follow_pointer(self, name: str, role: Role) -> None:
        try:
            pointer = await asyncio.to_thread(lambda: self._opened().pointer(name, role))
        except ModelError as error:
            self._failed(name, role, error)
            return
        if pointer.version is not None:
            await self._use(name, role, pointer.version)

    async def _use(self, name: str, role: Role, version: str | None) -> None:
        if version == self.versions.get((name, role)):
            return
        try:
            model = None
            if version is not None:
                model = await asyncio.to_thread(lambda: self._opened().load(name, version))
            self._on_model(name, role, model)
        except (ModelError, ValueError) as error:
            self._failed(name, role, error)
            return
        if version is None:
            self.versions.pop((name, role), None)
        else:
            self.versions[name, role] = version
            logger.info("Model %s %s is %s", name, version, role)

    def _opened(self) -> Registry:
        if self._registry is None:
            self._registry = self._open()
        return self._registry

    def _failed(self, name: str, role: Role, error: Exception) -> None:
        self.failures[name, getattr(error, "reason", REFUSED)] += 1
        logger.error("Model %s as %s cannot be used, the previous one stays in use: %s", name, role, error)
