"""Sigma files as rules, with every mistake at its line: syntax, modifiers, references."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sigma.correlations import SigmaCorrelationCondition, SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from streams.language.problems import Findings, nearest
from streams.language.yaml.documents import Document, Path
from streams.sigma.condition import MODIFIERS

CORRELATIONS = ("event_count", "value_count", "temporal")
"""Types of correlations that counts of buckets can tell; the order within a bucket they cannot."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A rule over single events."""

    name: str
    rule: Any
    document: Document

    @property
    def keys(self) -> tuple[str, ...]:
        """What correlations may call it."""
        return tuple(str(key) for key in (self.rule.name, self.rule.id) if key)


@dataclass(frozen=True, slots=True)
class Correlation:
    """A rule over the events of others.

    kind  : one of `CORRELATIONS`
    rules : the detections it counts
    """

    name: str
    kind: str
    rule: Any
    rules: tuple[Detection, ...]
    document: Document


def read_rules(
    documents: Sequence[Document], findings: Findings
) -> tuple[list[Detection], list[Correlation]]:
    """The rules of all files together; mistakes go to `findings`."""
    detections: list[Detection] = []
    correlating: list[Document] = []
    for document in documents:
        if not isinstance(document.value, dict):
            findings.problems.append(document.problem((), "a Sigma rule", document.show(())))
        elif "correlation" in document.value:
            correlating.append(document)
        elif _modifiers_fit(document, findings):
            found = _detection(document, findings)
            detections += [found] if found is not None else []
    by_key = {key: detection for detection in detections for key in detection.keys}
    correlations = [_correlation(document, by_key, findings) for document in correlating]
    return detections, [correlation for correlation in correlations if correlation is not None]


def _detection(document: Document, findings: Findings) -> Detection | None:
    place: Path = ("detection",) if "detection" in document.value else ()
    condition = document.get((*place, "condition")) if place else None
    texts = condition if isinstance(condition, list) else [condition]
    if condition is not None and not all(isinstance(text, str) for text in texts):
        where = (*place, "condition")
        findings.problems.append(
            document.problem(where, "a condition such as selection and not filter", document.show(where))
        )
        return None
    try:
        rule = SigmaRule.from_dict(document.value)
        for parsed in rule.detection.parsed_condition:
            _ = parsed.parsed
    except Exception as error:  # beside its own errors pySigma lets those of Python through
        findings.problems.append(document.problem(place, "a Sigma rule", _plain(error)))
        return None
    return Detection(rule.title or rule.name or str(rule.id), rule, document)


def _correlation(document: Document, known: dict[str, Detection], findings: Findings) -> Correlation | None:
    place: Path = ("correlation",)
    value = document.get(place)
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in CORRELATIONS:
        hint = "the order of events within 10 s is not known" if kind == "temporal_ordered" else ""
        findings.problems.append(
            document.problem((*place, "type"), f"one of {', '.join(CORRELATIONS)}", str(kind), hint)
        )
        return None
    try:
        rule = SigmaCorrelationRule.from_dict(document.value)
    except Exception as error:
        findings.problems.append(document.problem(place, "a Sigma correlation", _plain(error)))
        return None
    condition = rule.condition
    if not isinstance(condition, SigmaCorrelationCondition):
        findings.problems.append(
            document.problem((*place, "condition"), "a bound such as gte: 10", "an expression")
        )
        return None
    if isinstance(condition.fieldref, list):
        findings.problems.append(document.problem((*place, "condition", "field"), "one field", "several"))
        return None
    rules = []
    for number, reference in enumerate(rule.rules or ()):
        found = known.get(reference.reference)
        if found is None:
            findings.problems.append(
                document.problem(
                    (*place, "rules", number),
                    "the name or id of a rule that looks at events",
                    reference.reference,
                    nearest(reference.reference, tuple(known)),
                )
            )
            return None
        rules.append(found)
    return Correlation(rule.title or rule.name or str(rule.id), kind, rule, tuple(rules), document)


def _modifiers_fit(document: Document, findings: Findings) -> bool:
    """Whether every modifier is one that can be said, each mistake at the line of its field."""
    fit = True
    for path, key in _field_keys(document.get(("detection",)), ("detection",)):
        for modifier in key.split("|")[1:]:
            if modifier not in MODIFIERS:
                fit = False
                findings.problems.append(
                    document.problem(
                        path,
                        f"a modifier of {', '.join(sorted(MODIFIERS))}",
                        modifier,
                        nearest(modifier, tuple(sorted(MODIFIERS))),
                    )
                )
    return fit


def _field_keys(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key), str(key)
            yield from _field_keys(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _field_keys(inner, (*path, number))


def _plain(error: Exception) -> str:
    text = str(error).partition(" in ")[0].strip()
    return text if text and isinstance(error, SigmaError) else f"{type(error).__name__} {text}".rstrip()
