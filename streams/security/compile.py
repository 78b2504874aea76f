"""All entries of `detectors.security` compiled, each for its source."""

from __future__ import annotations

from streams.config.addition import Addition
from streams.config.models import Config
from streams.documents.problems import Findings, nearest
from streams.security.rollups import entity_plan


def entity_plans(config: Config, findings: Findings) -> dict[str, Addition]:
    """What the entries add, by source; mistakes go to `findings`."""
    found: dict[str, Addition] = {}
    document = config.document
    for index, entry in enumerate(config.detectors.security):
        path = ("detectors", "security", index)
        place = (*path, "source")
        source = config.sources.get(entry.source)
        if source is None:
            if entry.source not in (document.get(("sources",)) or ()):
                guess = nearest(entry.source, tuple(config.sources))
                findings.problems.append(document.problem(place, "a source", document.show(place), guess))
            continue
        if entry.source in found:
            findings.problems.append(
                document.problem(place, "one entry a source", f"a second one for {entry.source}")
            )
            continue
        if not any(name in entry.columns(source.format) for name in ("client", "user", "api_key", "session")):
            findings.problems.append(
                document.problem(
                    path,
                    "a column that names entities",
                    "",
                    f"format {source.format} has no usual one; name the client, user, api_key or session",
                )
            )
            continue
        found[entry.source] = entity_plan(entry, entry.source, source.format, source.where, document, path)
    return found
