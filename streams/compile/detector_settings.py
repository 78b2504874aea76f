"""Settings of a detector that does not ship, checked by the signature of its own class.

The class is loaded and the detector made once, so that whatever is wrong with either is told with the line
of its entry, by `check` and before a worker starts.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field as Key
from pydantic import PydanticUserError, TypeAdapter, create_model

from detectors.api.registry import DetectorError, load, make, names
from streams.config.detectors import CustomEntry
from streams.config.models import Config
from streams.config.values import milliseconds
from streams.language.problems import Findings, nearest
from streams.language.yaml.documents import Path
from streams.language.yaml.validation import Model, validate
from streams.plan.monitor import SHIPPED

RATE = "false_alarms_per_series_per_week"


def custom_settings(
    entry: CustomEntry, config: Config, path: Path, findings: Findings
) -> Mapping[str, Any] | None:
    """What the detector of an entry is made with; mistakes go to `findings`, and then the result is None.

    path : of the entry. Its step and rate of false alarms are passed on to a class that takes them.
    """
    document, before = config.document, len(findings.problems)
    try:
        made = load(entry.name)
    except DetectorError as error:
        guess = nearest(entry.name, set(names()) - set(SHIPPED)) or str(error)
        expected = "a detector that is installed, or package.module:Class"
        findings.problems.append(config.mistake((*path, "name"), expected, guess))
        return None
    known = _parameters(made)
    own: dict[str, Any] = {"step_ms": milliseconds(entry.step), RATE: getattr(entry, RATE)}
    own = {key: value for key, value in own.items() if known is None or key in known}
    if RATE not in own and RATE in entry.model_fields_set:
        findings.problems.append(
            document.problem((*path, RATE), f"no rate, since {entry.name} takes none", "", "remove it")
        )
    wanted = dict(entry.settings)
    if known is not None:
        wanted = _checked(made, {key: known[key] for key in known if key not in own}, config, path, findings)
    if len(findings.problems) > before:
        return None
    try:
        make(entry.name, **own, **wanted)
    except (DetectorError, TypeError) as error:
        place = (*path, "settings") if entry.settings else path
        findings.problems.append(document.problem(place, "settings that it takes", "", str(error)))
        return None
    return {**own, **wanted}


def _parameters(made: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """What may be given by name; None where nothing says so, or anything may."""
    try:
        found = inspect.signature(made).parameters
    except (TypeError, ValueError):
        return None
    if any(each.kind is each.VAR_KEYWORD for each in found.values()):
        return None
    return {
        name: each
        for name, each in found.items()
        if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)
    }


def _checked(
    made: Callable[..., Any],
    known: Mapping[str, inspect.Parameter],
    config: Config,
    path: Path,
    findings: Findings,
) -> dict[str, Any]:
    """The entry's settings, read as the parameters' types ask for."""
    place = (*path, "settings")
    if config.document.get(place) is None:
        lacking = [name for name, each in known.items() if each.default is each.empty]
        for name in lacking:
            findings.problems.append(
                config.document.problem((*place, name), "a value", "nothing", f"add settings: {{{name}: …}}")
            )
        return {}
    hints = _hints(made)
    # by alias, since a parameter may be called as something that a model has of itself
    fields: dict[str, Any] = {
        f"setting_{number}": (
            _readable(hints.get(name, Any)),
            Key(alias=name) if each.default is each.empty else Key(default=each.default, alias=name),
        )
        for number, (name, each) in enumerate(known.items())
    }
    model = create_model("Settings", __base__=Model, **fields)
    read = validate(model, config.document, place, findings)
    return {} if read is None else read.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _hints(made: Callable[..., Any]) -> dict[str, Any]:
    """Types of the parameters, as far as they can be told."""
    try:
        return typing.get_type_hints(made.__init__ if inspect.isclass(made) else made, include_extras=True)
    except Exception:
        # annotations are code of somebody else, and may name what is only there for a type checker
        return {}


def _readable(hint: Any) -> Any:
    """The type, or any where it is none that a file can hold a value of."""
    try:
        TypeAdapter(hint)
    except PydanticUserError:
        return Any
    return hint
