"""What the environment adds to a configuration: `${VAR}` in values, and `STREAMGAUGE_<SECTION>__<KEY>`.

Variables are replaced in values after YAML has been read, so that no content can change the file's
structure; `shield` keeps YAML from taking their braces for its own. Values that came from the environment
are never repeated in messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from streams.config.models import Config
from streams.language.problems import Findings, Problem, nearest
from streams.language.yaml.documents import Document, Path, plain_value

PREFIX = "STREAMGAUGE_"

_VARIABLE = re.compile(
    r"\$(?P<escaped>\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}\n]*))?\}"
)

_SHIELD = 0xE000
"""Start of Unicode's private use area, which means nothing to YAML and stands in no file."""

_SHIELDED = re.compile(f"[{chr(_SHIELD)}-{chr(_SHIELD + 127)}]")


def shield(text: str) -> str:
    """The text with its variables in characters of private use, so that `{user: ${USER}}` is YAML."""
    return _VARIABLE.sub(
        lambda found: "".join(chr(_SHIELD + ord(c)) if c.isascii() else c for c in found[0]), text
    )


def substitution(environment: Mapping[str, str]) -> Callable[[str, bool], tuple[Any, bool] | str | None]:
    """Replace `${VAR}` and `${VAR:-default}` in a shielded scalar; `$${` stands for `${` itself.

    An unquoted value is read as YAML reads it, so `port: ${PORT}` is a number.
    """

    def replace(text: str, plain: bool) -> tuple[Any, bool] | str | None:
        if not _SHIELDED.search(text):
            return None
        text = _SHIELDED.sub(lambda found: chr(ord(found[0]) - _SHIELD), text)
        lacking: list[str] = []
        hide = False

        def value(found: re.Match[str]) -> str:
            nonlocal hide
            if found["escaped"]:
                return "${"
            # As in a shell, the default also stands in for an empty value.
            default = found["default"]
            given = environment.get(found["name"], "")
            if default is None and found["name"] not in environment:
                lacking.append(found["name"])
            hide = hide or bool(given)
            return given or default or ""

        replaced = _VARIABLE.sub(value, text)
        if lacking:
            name = lacking[0]
            return f"the environment variable {name} to be set, or a default as in ${{{name}:-value}}"
        return (plain_value(replaced) if plain else replaced), hide

    return replace


def apply_overrides(document: Document, environment: Mapping[str, str], findings: Findings) -> None:
    """Set what variables such as `STREAMGAUGE_WEB__PORT` say, in place.

    The parts between `__` are keys, in any case; values are YAML (`[a, b]` is a list). Variables that
    name no section of the configuration are somebody else's and are left alone.
    """
    for variable in sorted(environment):
        if not variable.startswith(PREFIX):
            continue
        parts = variable.removeprefix(PREFIX).split("__")
        if parts[0].lower() not in Config.model_fields:
            continue
        path = _path(document, variable, parts, findings)
        if path is not None:
            _set(document, path, _read(environment[variable]))
            document.hidden.add(path)
            document.places[path] = variable


def _path(document: Document, variable: str, parts: list[str], findings: Findings) -> Path | None:
    """Keys that `parts` mean: those of the model, or as the file spells them."""
    path: Path = ()
    model: Any = Config
    for part in parts:
        present = document.get(path)
        known = list(present) if isinstance(present, dict) else []
        if isinstance(model, type) and issubclass(model, BaseModel):
            fields = {info.alias or name: info.annotation for name, info in model.model_fields.items()}
            known += fields
        else:
            fields = {}
        key = next((name for name in known if name.lower() == part.lower()), None)
        if key is None:
            if fields:
                findings.problems.append(
                    Problem(
                        "environment",
                        0,
                        variable,
                        f"a known key in place of {part}",
                        part,
                        nearest(part, fields),
                    )
                )
                return None
            key = part.lower()
        path = (*path, key)
        model = fields.get(key)
    return path


def _read(text: str) -> Any:
    """A variable's value: a flow list as a list, all else as an unquoted scalar."""
    stripped = text.strip()
    if stripped.startswith("[") and stripped.endswith("]"):
        inner = stripped[1:-1].strip()
        return [plain_value(item.strip().strip("\"'")) for item in inner.split(",")] if inner else []
    return plain_value(stripped)


def _set(document: Document, path: Path, value: Any) -> None:
    holder = document.value
    for step in path[:-1]:
        if not isinstance(holder.get(step), dict):
            holder[step] = {}
        holder = holder[step]
    holder[path[-1]] = value
