"""The log templates of a worker, as JSON to look at and as a table to review.

Signatures are spread over the partitions of the partials, so that one template may be known to several
windows of a worker by different ids. Here they are one: what all its windows have seen, with the other ids as
aliases, for which a review holds as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from detectors.logs.detector import LogTemplateDetector
from models.logs.catalog import TemplateCatalog
from streams.derive.log_templates import Signature
from streams.judge.judged_source import JudgedSource


@dataclass(frozen=True, slots=True)
class SourceTemplates:
    """The templates of one source's lines.

    services : those in which each signature has had a line
    """

    source: str
    catalog: TemplateCatalog
    services: Mapping[str, frozenset[str]]

    def rows(self) -> list[dict[str, Any]]:
        """JSON-able, the most frequent first."""
        members = {self.catalog.id_of(group[0]): group for group in self.catalog.signatures()}
        return [
            {
                "source": self.source,
                "id": template.id,
                "template": template.text,
                "services": sorted(
                    frozenset().union(*(self.services.get(one, frozenset()) for one in members[template.id]))
                ),
                "count": template.count,
                "first_seen_ms": template.first_seen_ms,
                "last_seen_ms": template.last_seen_ms,
                "example": template.example,
                "aliases": list(template.aliases),
                "review": {"name": template.name, "ignored": template.ignored},
            }
            for template in self.catalog.templates()
        ]


TemplatesOf: TypeAlias = Callable[[], Callable[[], list[SourceTemplates]]]
"""Copies what there is in the event loop; what it returns completes the copy and may run in a thread."""


@dataclass(slots=True)
class _Copied:
    """What the windows of one source have seen."""

    states: list[Mapping[str, Any]]
    services: list[Mapping[str, tuple[str, ...]]]
    examples: Mapping[str, str]

    def joined(self, source: str) -> SourceTemplates:
        services: dict[str, frozenset[str]] = {}
        for told in self.services:
            for signature, names in told.items():
                services[signature] = services.get(signature, frozenset()) | set(filter(None, names))
        return SourceTemplates(source, TemplateCatalog.joined(self.states, self.examples), services)


def live_templates(windows: Iterable[JudgedSource]) -> Callable[[], list[SourceTemplates]]:
    """The templates of a worker's windows; see `TemplatesOf`."""
    found: dict[str, _Copied] = {}
    for window in windows:
        for monitor in window.monitors.running:
            detector = monitor.detector
            if not isinstance(detector, LogTemplateDetector):
                continue
            examples: dict[str, str] = {}
            for column in window.plan.derived:
                if isinstance(column, Signature):
                    examples |= column.examples
            copied = found.setdefault(window.plan.name, _Copied([], [], examples))
            copied.states.append(detector.catalog.state())
            copied.services.append(detector.services())
    return lambda: [copied.joined(source) for source, copied in sorted(found.items())]
