"""All entries of `detectors.security` compiled, each for its source."""

from __future__ import annotations

from collections.abc import Mapping
from glob import glob

from streams.compile.entity_rollups import entity_labels, entity_plan
from streams.compile.fragment import PlanFragment
from streams.config.load import read_text
from streams.config.models import Config, Source
from streams.config.security import ENTITIES
from streams.language.expression import conjoin
from streams.language.problems import Findings, nearest
from streams.language.yaml.documents import Document, read_documents


def entity_plans(config: Config, findings: Findings) -> dict[str, PlanFragment]:
    """What the entries add, by source; mistakes go to `findings`."""
    found: dict[str, PlanFragment] = {}
    document = config.document
    for index, entry in enumerate(config.detectors.security):
        path = ("detectors", "security", index)
        place = (*path, "source")
        source = config.sources.get(entry.source)
        if source is None:
            if entry.source not in (document.get(("sources",)) or ()):
                guess = nearest(entry.source, tuple(config.sources))
                findings.problems.append(config.mistake(place, "a source", guess))
            continue
        if entry.source in found:
            findings.problems.append(
                document.problem(place, "one entry a source", f"a second one for {entry.source}")
            )
            continue
        columns = entry.columns(source.event_schema.roles)
        if not any(name in columns for name in ENTITIES):
            findings.problems.append(
                document.problem(
                    path,
                    "a column that names entities",
                    "",
                    f"format {source.format} has no usual one; name the client, user, api_key or session",
                )
            )
            continue
        made = entity_plan(entry, entry.source, columns, source.where, document, path)
        rules = _sigma(config, index, source, columns, findings)
        found[entry.source] = PlanFragment(
            made.derived,
            (*made.rollups, *rules.rollups),
            (*made.monitors, *rules.monitors),
            (*made.uses, *rules.uses),
        )
    return found


def _sigma(
    config: Config, index: int, source: Source, columns: Mapping[str, str], findings: Findings
) -> PlanFragment:
    """The Sigma rules of an entry; a pattern without files is a mistake."""
    entry = config.detectors.security[index]
    if not entry.sigma:
        return PlanFragment((), (), (), ())
    from streams.sigma.rollups import SigmaSource, sigma_plan  # pysigma takes long, and few have rules

    documents: list[Document] = []
    base = config.path.parent
    for pattern in entry.sigma:
        files = sorted(base / name for name in glob(pattern, root_dir=base, recursive=True))
        if not files:
            findings.problems.append(
                config.document.problem(
                    ("detectors", "security", index, "sigma"),
                    "files that exist",
                    f"none for {pattern}",
                    f"paths are relative to {base}",
                )
            )
        for file in files:
            text = read_text(file, findings)
            documents += [] if text is None else read_documents(str(file), text, findings)
    schema = source.event_schema
    rules_for = SigmaSource(
        name=entry.source,
        where=conjoin(source.where, entry.where),
        columns=columns,
        labels=entity_labels(entry, columns),
        numbers=frozenset(name for name, kind in schema.columns.items() if kind == "number"),
        body=schema.roles.get("message"),
    )
    rules = sigma_plan(documents, rules_for, findings)
    return PlanFragment((), tuple(rules.rollups), tuple(rules.monitors), tuple(rules.uses))
