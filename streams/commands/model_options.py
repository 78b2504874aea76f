"""Options that the commands of `streamgauge models` have in common, and what they stand for."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.commands.console import USAGE, fail, load

if TYPE_CHECKING:
    from detectors.feedback.labels import Label
    from models.registry.manifest import Announcement
    from models.registry.registry import Registry
    from streams.config.models import Config


DEFAULT_REGISTRY = "streamgauge-models"
DEFAULT_APP = "streamgauge"


class RoleName(StrEnum):
    """Roles of a version."""

    CHAMPION = "champion"
    SHADOW = "shadow"


ModelName = Annotated[str, typer.Argument(metavar="NAME", help="The model, such as traffic.")]
Version = Annotated[
    str,
    typer.Argument(
        metavar="VERSION", help="A version, its number, the start of its hash, champion, shadow or latest."
    ),
]
Data = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A table, CSV or parquet, to judge with the models.")
]
Labels = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Labels, a JSON object a line, as `streamgauge label --file` writes."),
]
Author = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who decides; the user of the system if left out.")
]
Trusted = Annotated[
    list[str] | None,
    typer.Option(
        "--detector",
        metavar="NAME",
        help="A detector as module:Class that models may be of; installed ones need not be named.",
    ),
]


@dataclass(frozen=True, slots=True)
class Decision:
    """Who decides of a role, and why."""

    author: Author = None
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the history.")] = ""

    @property
    def by(self) -> str:
        return self.author or user()


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """Where models are, and whose workers are told of changes."""

    registry: Annotated[
        str | None,
        typer.Option(
            envvar="STREAMGAUGE_MODELS",
            metavar="URL",
            help=(
                "Where models are: a folder, s3://…, gs://… as fsspec knows it. If left out, `models.url` of "
                f"the configuration, else the folder {DEFAULT_REGISTRY}."
            ),
        ),
    ] = None
    app: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help=f"The app; that of the configuration if left out, else {DEFAULT_APP}."
        ),
    ] = None
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="The configuration, for app and registry; changes of roles are announced to its workers.",
        ),
    ] = None

    def open(self) -> Place:
        """The registry that the options mean."""
        from models.registry.errors import ModelError
        from models.registry.registry import Registry

        settings = load(self.config) if self.config else None
        url = self.registry
        if url is None and settings is not None:
            url = settings.registry_url()
        try:
            store = Registry(url or DEFAULT_REGISTRY, self.app or (settings.app if settings else DEFAULT_APP))
        except (ModelError, ValueError) as error:
            fail(str(error), USAGE)
        return Place(store, settings)


@contextmanager
def failures() -> Iterator[None]:
    """What a model, the registry or a detector raises ends the command with its sentence."""
    from models.registry.errors import ModelError

    try:
        yield
    except (ModelError, ValueError) as error:
        fail(str(error))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command works.

    config : None where none was given; changes are then not announced
    """

    registry: Registry
    config: Config | None

    def announce(self, announcement: Announcement) -> None:
        """Tell the workers of a change that is stored already."""
        import asyncio

        from streams.kafka.compacted import TopicError, announce

        if self.config is None:
            return
        try:
            asyncio.run(announce(self.config, announcement))
        except TopicError as error:
            fail(f"It is stored, but not announced, so that workers see it at their next start: {error}")


def roles_of(registry: Registry, name: str) -> dict[str, tuple[str, ...]]:
    """Version to the roles that it has."""
    roles: dict[str, tuple[str, ...]] = {}
    for role in RoleName:
        version = registry.pointer(name, role.value).version
        if version:
            roles[version] = (*roles.get(version, ()), role.value)
    return roles


def settings_of(pairs: list[str] | None) -> dict[str, Any]:
    """Settings given as KEY=VALUE, where the value is JSON or text."""
    settings: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            fail(f"--set {pair}: expected KEY=VALUE, such as --set trees=200", USAGE)
        try:
            settings[key] = json.loads(text)
        except ValueError:
            settings[key] = text
    return settings


def labels_of(file: Path | None) -> tuple[Label, ...]:
    from streams.modelling.label_files import LabelFileError, read_labels

    if file is None:
        return ()
    try:
        return read_labels(file)
    except LabelFileError as error:
        fail(str(error))


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""  # a container may have no user of a name
