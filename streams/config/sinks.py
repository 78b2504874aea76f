"""`sinks` of a configuration: a key for each sink that is installed, validated by the sink's own settings.

A package adds a sink with an entry point in the group `streamgauge.sinks`; configuration and dispatcher find
all of them here, and neither names one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BeforeValidator, SecretStr, create_model, model_serializer

from streams.language.yaml.validation import Model, reject

GROUP = "streamgauge.sinks"


class SinkSettings(Model):
    """Where alerts go beside the alerts topic: each sink's settings by its name, None where it is off."""

    def configured(self) -> Mapping[str, Any]:
        """The settings of the sinks that are on, by name; an empty list turns one off, too."""
        return {name: settings for name, settings in self if settings not in (None, (), [])}

    @model_serializer(mode="wrap")
    def _only_configured(self, dump: Callable[[SinkSettings], dict[str, Any]]) -> dict[str, Any]:
        """A digest must not depend on which sinks are installed without being used."""
        on = self.configured()
        return {name: settings for name, settings in dump(self).items() if name in on}


def installed_sinks() -> Mapping[str, EntryPoint]:
    """Where each sink is, by name, sorted; of two of one name the first on the path counts."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, point)
    return dict(sorted(found.items()))


def settings_model(points: Iterable[EntryPoint]) -> type[SinkSettings]:
    """The model of the section, with a key for each of the sinks."""
    keys: dict[str, Any] = {point.name: (_settings_of(point) | None, None) for point in points}
    return create_model("Sinks", __base__=SinkSettings, **keys)


def _settings_of(point: EntryPoint) -> Any:
    """The type of a sink's settings; for one that cannot be loaded, a type that says so where it is used."""
    try:
        return point.load().Settings
    except Exception as error:  # somebody else's module may raise anything, and breaks only its own sink
        why = f"{point.value} raises {type(error).__name__}: {error}"

    def refuse(_value: Any) -> Any:
        reject("the settings of a sink that can be loaded", why)

    return Annotated[SecretStr, BeforeValidator(refuse)]


if TYPE_CHECKING:
    Sinks: TypeAlias = SinkSettings
else:
    Sinks = settings_model(installed_sinks().values())
