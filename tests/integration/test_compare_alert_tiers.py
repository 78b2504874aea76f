"""The notebook that compares alert thresholds, executed cell by cell as Jupyter does, without a screen."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "compare_alert_tiers.py"

LOOK = """
import json
seen = {
    "axes": [
        [axis.get_xlabel(), axis.get_ylabel(), len(axis.lines) + len(axis.patches)]
        for figure in (*figures.values(), comparison_figure)
        for axis in figure.axes
    ],
    "outcomes": summary.outcomes,
    "comparison": [
        {**row, "fired at": row["fired at"].timestamp()} for row in comparison.to_dict("records")
    ],
    "incidents": {one.name: [one.start.timestamp(), one.end.timestamp()] for one in incidents},
}
print("SEEN" + json.dumps(seen))
"""
"""A last cell: what the notebook's figures and tables hold, apart from how they are shown."""


@pytest.fixture(scope="module")
def executed() -> NotebookNode:
    """The notebook with its outputs; a cell that raises fails here, with its traceback."""
    notebook = jupytext.read(NOTEBOOK)
    notebook.cells.append(new_code_cell(LOOK))
    where = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, kernel_name="python3", timeout=300, resources=where).execute()
    return notebook


def outputs(notebook: NotebookNode) -> Iterator[NotebookNode]:
    for cell in notebook.cells:
        yield from cell.get("outputs", ())


def shown(notebook: NotebookNode, kind: str) -> list[str]:
    """What the cells show in one media type, in their order."""
    return [output.data[kind] for output in outputs(notebook) if kind in output.get("data", {})]


@pytest.fixture(scope="module")
def seen(executed: NotebookNode) -> dict[str, Any]:
    text = "".join(output.text for output in outputs(executed) if output.get("name") == "stdout")
    found: dict[str, Any] = json.loads(text.partition("SEEN")[2])
    return found


def test_figures_are_shown_and_say_what_they_show(executed: NotebookNode, seen: dict[str, Any]) -> None:
    pictures = shown(executed, "image/png")
    assert len(pictures) == 3, "availability, latency, and the comparison"
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert len(seen["axes"]) == 4 + 4 + 2
    assert all(drawn and ylabel for _, ylabel, drawn in seen["axes"])
    assert [xlabel for xlabel, _, _ in seen["axes"]].count("event time (UTC)") == 3, "below each figure"
    assert {ylabel for _, ylabel, _ in seen["axes"]} == {
        "SLI (% good)",
        "burn rate\n(× allowed)",
        "budget left (%)",
        "alerts firing",
    }


def test_tables_are_shown(executed: NotebookNode) -> None:
    tables = shown(executed, "text/html")
    columns = ("late", "budget left", "resolved_at", "error_ratio_needed", "SRE Workbook", "minutes firing")
    assert len(tables) == len(columns)
    assert [column for column, table in zip(columns, tables, strict=True) if column not in table] == []


def test_nothing_is_warned_of(executed: NotebookNode) -> None:
    assert [output.text for output in outputs(executed) if output.get("name") == "stderr"] == []


def test_every_line_of_the_log_is_counted(seen: dict[str, Any]) -> None:
    outcome = seen["outcomes"]["access_log"]
    assert outcome["in"] > 80_000
    assert (outcome["late"], outcome["dead"]) == (0, 0)


def test_stricter_tiers_page_for_the_leak_and_sooner_for_the_outage(seen: dict[str, Any]) -> None:
    pages: dict[str, dict[str, float]] = {}
    for alert in seen["comparison"]:
        start_s, _ = seen["incidents"][alert["incident"]]
        assert alert["minutes after its start"] == pytest.approx((alert["fired at"] - start_s) / 60)
        setting, _, severity = alert["alert"].partition(": ")
        if severity == "page":
            assert alert["incident"] not in pages.setdefault(setting, {}), "one page an incident"
            pages[setting][alert["incident"]] = alert["minutes after its start"]
    workbook, stricter = pages["SRE Workbook"], pages["stricter"]
    assert set(workbook) == {"outage"}
    assert set(stricter) == {"leak", "outage"}
    assert 0 < stricter["outage"] < workbook["outage"] < 15
