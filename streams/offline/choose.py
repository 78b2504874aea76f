"""Which sources a file's records belong to."""

from __future__ import annotations

from collections.abc import Iterable

from streams.config.models import Config
from streams.decode.registry import FormatError, find_format
from streams.language.problems import nearest, one_of

__all__ = ["ChoiceError", "choose_sources", "with_choice"]


class ChoiceError(Exception):
    """An unknown source or format; the text lists the known ones."""


def with_choice(config: Config, source: str | None, format: str | None) -> Config:
    """The configuration narrowed to `source`, which is read as `format`; None leaves things as they are."""
    if source is not None and source not in config.sources:
        raise ChoiceError(
            f"--source: expected {_listed(config)}, found {source!r}{_near(source, config.sources)}"
        )
    try:
        found = None if format is None else find_format(format)
    except FormatError as error:
        raise ChoiceError(f"--format: {error}") from error
    if source is None and format is not None and len(config.sources) > 1:
        raise ChoiceError(f"--format needs --source with several sources: {_listed(config)}")
    names = list(config.sources) if source is None else [source]
    chosen = {name: config.sources[name] for name in names}
    if found is not None:
        for name, one in chosen.items():
            if found.signals and one.signal is None:
                raise ChoiceError(
                    f"--format {format}: expected a source with a signal (metrics, logs or spans), "
                    f"found source {name!r} without"
                )
            signal = one.signal if found.signals else None
            chosen[name] = one.model_copy(update={"format": format, "signal": signal})
    return config.model_copy(update={"sources": chosen})


def choose_sources(config: Config, topic: str | None, file: str) -> list[str]:
    """The sources that read a file's records: those of its topic, else the only one there is.

    Raises ChoiceError where several are possible.
    """
    of_topic = [name for name, source in config.sources.items() if source.topic == topic]
    if of_topic:
        return of_topic
    if len(config.sources) == 1:
        return list(config.sources)
    found = f"records of topic {topic!r}" if topic else "records of no topic"
    raise ChoiceError(
        f"{file}: expected records of a source's topic, found {found}; say which source reads them: "
        f"--source {_listed(config)}"
    )


def _listed(config: Config) -> str:
    names = [f"{name} (topic {source.topic})" for name, source in config.sources.items()]
    return one_of(names)


def _near(word: str, known: Iterable[str]) -> str:
    hint = nearest(word, known)
    return f"; {hint}" if hint else ""
