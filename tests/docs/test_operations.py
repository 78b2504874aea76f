"""Messages that `docs/operations.md` explains are those that the code says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from streams.publish.web.server import web_application
from tests.docs.pages import ROOT, code, section, table

PAGE = ROOT / "docs" / "operations.md"


def texts(path: Path) -> str:
    """All strings of a module, one a line; neighbours in the source are one string, as for the parser."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return "\n".join(one for one in constants if isinstance(one, str))


SAID = "\n".join(texts(path) for path in sorted((ROOT / "streams").rglob("*.py")))


@pytest.mark.parametrize("row", table(section(PAGE, "Messages")), ids=lambda row: code(row[0])[0])
def test_every_message_is_said_somewhere(row: list[str]) -> None:
    assert code(row[0])[0] in SAID


def test_metrics_to_look_at_are_published() -> None:
    rows = table(section(PAGE, "What you see, and what to do"))
    seen = {name for symptom, *_ in rows for name in code(symptom) if name.startswith("streamgauge_")}
    assert len(seen) > 4
    listed = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in listed for name in seen)


def test_probes_are_served() -> None:
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
    assert {code(path)[0] for _, path in table(section(PAGE, "A fleet of workers"))} <= served
