"""Pydantic's errors as problems: the line, what was expected in words, and the nearest known key or value."""

from __future__ import annotations

import types
from collections.abc import Mapping
from copy import deepcopy
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from streams.language.expression import ExpressionError
from streams.language.problems import Findings, Problem, nearest, one_of
from streams.language.yaml.documents import Document, Path

M = TypeVar("M", bound=BaseModel)


class Model(BaseModel):
    """Base of everything that users write: unknown keys are mistakes, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def reject(expected: str, suggestion: str = "") -> NoReturn:
    """Raise from a validator: the value is not what was expected."""
    raise PydanticCustomError(
        "rejected", "expected {expected}", {"expected": expected, "suggestion": suggestion}
    )


def reject_key(key: str | Path, expected: str, suggestion: str = "") -> NoReturn:
    """Raise from a model's validator: the value of `key` (which may be lacking) is not what was expected.

    key : a key of the model, or the path to one further in
    """
    path = (key,) if isinstance(key, str) else key
    raise PydanticCustomError(
        "rejected", "expected {expected}", {"expected": expected, "suggestion": suggestion, "key": path}
    )


def validate(model: type[M], document: Document, path: Path, findings: Findings) -> M | None:
    """The value at `path` as a `model`; every mistake goes to `findings`, and then the result is None."""
    before = len(findings.problems)
    parsed = validate_leniently(model, document, path, findings)
    return parsed if len(findings.problems) == before else None


def validate_leniently(model: type[M], document: Document, path: Path, findings: Findings) -> M | None:
    """As `validate`, but after a mistake the result is what holds without the wrong parts, if anything does.

    That lets a check go on to what depends on the right parts, and tell those mistakes in the same run.
    """
    value = document.get(path)
    if not isinstance(value, dict):
        findings.problems.append(document.problem(path, "a mapping", document.show(path)))
        return None
    value = deepcopy(value)
    for attempt in range(ATTEMPTS_MAX):
        try:
            return model.model_validate(value)
        except ValidationError as error:
            details = error.errors(include_url=False)
        if attempt == 0:
            for detail in details:
                _report(model, document, path, detail, findings)
        removed = [_remove(value, detail) for detail in details]
        if not any(removed):
            return None
    return None


ATTEMPTS_MAX = 8
"""Removing a wrong part may leave a lack further up, so each level of a document may need an attempt."""


def _remove(value: dict[str, Any], detail: ErrorDetails) -> bool:
    """Take a wrong part out of `value`, or what lacks one; whether there was anything to take out.

    Of a list nothing is taken out but the whole, so that positions keep their lines.
    """
    location: Path = tuple(detail["loc"])
    if "key" in detail.get("ctx", {}):
        location = (*location, *detail["ctx"]["key"])
    holder: dict[str, Any] | None = None
    key, inner = "", value
    for step in location:
        if not isinstance(inner, dict) or step not in inner:
            break
        holder, key, inner = inner, str(step), inner[step]
    if holder is None:
        return False
    del holder[key]
    return True


_EXPECTED = {
    "bool": "true or false",
    "dict": "a mapping",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "a mapping",
    "string": "text",
    "tuple": "a list",
    "mapping": "a mapping",
    "decimal": "a number",
    "finite": "a finite number",
}
"""First word of Pydantic's error types, to words for users."""


def _report(
    model: type[BaseModel], document: Document, base: Path, detail: ErrorDetails, findings: Findings
) -> None:
    location: Path = tuple(detail["loc"])
    context: Mapping[str, Any] = detail.get("ctx", {})
    kind = detail["type"]
    path = (*base, *_existing(document, base, location))
    suggestion = str(context.get("suggestion", ""))
    annotation = _annotation(model, location)
    # a secret also where a list of secrets belongs
    if annotation is SecretStr or (SecretStr in get_args(annotation) and isinstance(document.get(path), str)):
        document.hidden.add(path)
    match kind:
        case "extra_forbidden":
            known = list(_fields(_annotation(model, location[:-1])))
            wrong = str(location[-1])
            suggestion = nearest(wrong, known)
            expected = "a known key" if suggestion else f"a known key ({', '.join(known)})"
            findings.problems.append(document.problem(path, expected, wrong, suggestion))
            return
        case "missing":
            present = document.get(path[:-1] if path and path[-1] == location[-1] else path)
            key = str(location[-1])
            findings.problems.append(
                document.problem((*base, *location), "a value", "nothing", f"add {key}: under this line")
                if isinstance(present, dict)
                else document.problem(path, "a mapping", document.show(path))
            )
            return
        case "literal_error" | "enum":
            known = [str(choice) for choice in _choices(_annotation(model, location))]
            expected = one_of(known)
            value = document.get(path)
            suggestion = nearest(value, known) if isinstance(value, str) else ""
        case "rejected":
            expected = context["expected"]
            if "key" in context:
                path = (*path, *context["key"])
        case "greater_than":
            expected = f"a number above {context['gt']:g}"
        case "greater_than_equal":
            expected = f"a number of at least {context['ge']:g}"
        case "less_than":
            expected = f"a number below {context['lt']:g}"
        case "less_than_equal":
            expected = f"a number of at most {context['le']:g}"
        case "string_pattern_mismatch":
            expected = f"text that matches {context['pattern']}"
        case "string_too_short":
            expected = "text that is not empty"
        case "string_too_long":
            expected = f"text of at most {context['max_length']} characters"
        case "too_short" if len(document.get(path) or ()) >= context["min_length"]:
            # Pydantic counts the items that hold; the others have their own messages.
            return
        case "too_short":
            expected = f"at least {context['min_length']} item{'s' * (context['min_length'] > 1)}"
        case "too_long":
            expected = f"at most {context['max_length']} item{'s' * (context['max_length'] > 1)}"
        case "value_error" if isinstance(context.get("error"), ExpressionError):
            findings.problems.append(expression_problem(document, path, context["error"]))
            return
        case _:
            expected = _EXPECTED.get(kind.split("_")[0], detail["msg"])
    findings.problems.append(document.problem(path, expected, document.show(path), suggestion))


def expression_problem(document: Document, path: Path, error: ExpressionError) -> Problem:
    """A mistake in an expression, with the expression and a caret under the place."""
    found = f"a mistake at character {error.position + 1}: {error.message}"
    if any(path[:end] in document.hidden for end in range(len(path) + 1)):
        return document.problem(path, "a valid expression", "a mistake in a value that is not shown")
    caret = "\n".join(str(error).splitlines()[-2:])
    return document.problem(path, "a valid expression", found, error.hint, caret)


def _existing(document: Document, base: Path, location: Path) -> Path:
    """`location` as far as the document has it; validators that reshape a value add steps of their own."""
    path: Path = ()
    for step in location:
        value = document.get((*base, *path))
        if not (step in value if isinstance(value, dict) else isinstance(value, list)):
            break
        path = (*path, step)
    return path


def _annotation(annotation: Any, location: Path) -> Any:
    """The type at `location` under `annotation`."""
    for step in location:
        annotation = _bare(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = _fields(annotation).get(str(step))
        else:
            arguments = get_args(annotation)
            annotation = (
                arguments[-1] if get_origin(annotation) in (dict, Mapping) else next(iter(arguments), None)
            )
    return _bare(annotation)


def _bare(annotation: Any) -> Any:
    """A type without Annotated and without the None of an optional one."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            annotation = next(part for part in get_args(annotation) if part is not type(None))
        else:
            return annotation


def _fields(model: Any) -> dict[str, Any]:
    """Keys that users may write under a model, with their types."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return {}
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _choices(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation)
