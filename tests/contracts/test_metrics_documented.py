"""Every metric that a worker publishes stands in `docs/metrics.md`, with its type, labels and meaning."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.publish.metrics.family import Family
from streams.publish.metrics.page import families
from streams.publish.web.server import web_application
from tests.docs.pages import code, section, table
from tests.integration.test_scrape import full_snapshot
from tests.unit.streams.publish.metrics.test_page import SLO, slo_snapshot

PAGE = "docs/metrics.md"
SECTIONS = ("Promises", "Sources' own series", "Detectors", "Capacity", "Reading", "Alerts", "Process")
GROUPS = {"route", "http_route", "db"}
"""Labels of the snapshot's series, which the page writes as `…`."""

ROWS = {
    code(name)[0]: (kind, code(labels)[0].split() if labels else [], meaning)
    for heading in SECTIONS
    for name, kind, labels, meaning in table(section(PAGE, heading))
}


def published() -> dict[str, tuple[Family, set[str]]]:
    """Each name on a worker's page, with its family and the labels that its samples have."""
    # Of several objectives, so that their label is there too.
    slo = slo_snapshot(slo=replace(SLO, objective="fast"))
    found: dict[str, tuple[Family, set[str]]] = {}
    for family in families(replace(full_snapshot(), slos=[slo])):
        for blocks in family.together():
            for block in blocks:
                labels = {*block.labels.names, *dict(block.labels.common), *dict(block.extra)}
                labels = {"…" if label in GROUPS else label for label in labels}
                found.setdefault(family.name + block.suffix, (family, set()))[1].update(labels)
    return found


def test_every_metric_is_documented_and_no_other() -> None:
    assert ROWS.keys() == published().keys()


@pytest.mark.parametrize("name", published())
def test_type_labels_and_meaning_are_those_of_the_code(name: str) -> None:
    family, labels = published()[name]
    kind, told, meaning = ROWS[name]
    assert (kind, set(told)) == (family.kind, labels)
    if name.endswith(("_count", "_sum")):
        return  # parts of a summary, whose text is that of the quantiles
    words = meaning.replace("`", "").replace("[", "").partition("](")[0]
    assert words.startswith(family.documentation.rstrip("."))


def test_every_page_of_a_worker_is_listed() -> None:
    def unused(*_: object) -> object:
        raise AssertionError("no page is asked for here")

    application = web_application(
        snapshot=unused,  # type: ignore[arg-type]
        ready=unused,  # type: ignore[arg-type]
        state=unused,  # type: ignore[arg-type]
        incidents=unused,  # type: ignore[arg-type]
        templates=unused,  # type: ignore[arg-type]
    )
    served = {resource.canonical for resource in application.router.resources()}
    listed = {code(path)[0] for path, _ in table(section(PAGE, "Other pages of a worker"))}
    assert listed == served - {"/metrics"}
