"""`docs/configuration.md` has every key of the models, with its default, and no other."""

from __future__ import annotations

import types
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from streams.config.models import UNITS, Config
from streams.language.duration import format_duration
from tests.docs.pages import code, section, table

PAGE = "docs/configuration.md"

FORMATS_OWN = ("client", "user", "api_key", "session", "path", "query", "method", "status", "bytes", "agent")

IN_WORDS = {
    ("alerting", "tiers"): "by window",
    ("capacity[]", "kind"): "by key",
    ("capacity[]", "step"): "by kind",
    ("detectors.custom[]", "model"): "by name",
    ("detectors.custom[]", "service"): "by name",
    ("detectors.logs[]", "error"): "by severity",
    ("detectors.logs[]", "message"): "by format",
    ("detectors.multivariate[]", "model"): "by name",
    ("detectors.multivariate[]", "service"): "by name",
    ("detectors.security[]", "failed_login"): "by status",
    ("detectors.security[]", "login"): "by path",
    ("detectors.traffic[]", "model"): "by name",
    ("detectors.traffic[]", "service"): "by name",
    ("maintenance[]", "services"): "all",
    ("sources.<name>", "counters"): "by name",
    ("web", "url"): "by host and port",
} | {("detectors.security[]", column): "by format" for column in FORMATS_OWN}
"""Defaults that are found out only later, as the page calls them."""

KEYED_BY = {"sources": "<name>", "fields": "<column>"}


def inner_model(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The model inside a field's type, and how its place is written: "", "[]" or ".<key>"."""
    if get_origin(annotation) is Annotated:
        return inner_model(get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    arguments = get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        found = [inner_model(part) for part in arguments]
        return next((one for one in found if one[0] is not None), (None, ""))
    if get_origin(annotation) is tuple:
        return inner_model(arguments[0])[0], "[]"
    if get_origin(annotation) is Mapping:
        return inner_model(arguments[1])[0], ".<key>"
    return None, ""


def sections(model: type[BaseModel], path: str) -> list[tuple[str, type[BaseModel]]]:
    """Every model below `model`, with the place where users write it."""
    found = [(path, model)]
    for name, info in model.model_fields.items():
        inner, kind = inner_model(info.annotation)
        if inner is not None:
            key = info.alias or name
            place = f"{path}.{key}" if path else key
            place += kind.replace("<key>", KEYED_BY.get(key, ""))
            found += sections(inner, place)
    return found


SECTIONS = sections(Config, "")


def written(default: Any) -> str:
    """A default as the page writes it."""
    if isinstance(default, timedelta):
        return f"`{format_duration(round(default.total_seconds() * 1000))}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if default is None or default == () or default == {}:
        return "none"
    if isinstance(default, tuple):
        return ", ".join(map(written, default))
    return f"`{default}`"


def default_of(path: str, key: str, info: FieldInfo, model: type[BaseModel]) -> str:
    if (path, key) in IN_WORDS:
        return IN_WORDS[path, key]
    if info.is_required():
        return "required"
    inner, kind = inner_model(info.annotation)
    if inner is not None and kind == "" and info.default is not None:
        return ""
    if info.validate_default:  # written as users write it, so it is read as theirs is
        probe = {"topic": "a", "format": "json", "url": "http://a", "source": "a", "name": "a"}
        given = {name: probe[name] for name, field in model.model_fields.items() if field.is_required()}
        return written(getattr(model.model_validate(given), key))
    return written(info.get_default(call_default_factory=True))


@pytest.mark.parametrize(
    ("path", "model"), SECTIONS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_key_is_there_with_its_default(path: str, model: type[BaseModel]) -> None:
    rows = table(section(PAGE, f"`{path}`" if path else "Top level"))
    told = {code(key)[0]: default for key, default, _ in rows}
    keys = {info.alias or name: info for name, info in model.model_fields.items()}
    assert list(told) == list(keys)
    assert told == {key: default_of(path, key, info, model) for key, info in keys.items()}


def test_all_units_are_named() -> None:
    rows = {
        code(key)[0]: meaning for key, _, meaning in table(section(PAGE, "`sources.<name>.fields.<column>`"))
    }
    assert code(rows["unit"])[-1].split() == list(UNITS)
