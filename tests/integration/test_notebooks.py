"""Every notebook runs from top to bottom and draws what it promises."""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.py"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path) -> None:
    matplotlib.use("Agg")
    plt.close("all")
    runpy.run_path(str(notebook))
    assert plt.get_fignums(), "a notebook draws something"


def test_the_made_up_incident_is_seen() -> None:
    matplotlib.use("Agg")
    made = runpy.run_path(str(next(path for path in NOTEBOOKS if path.stem == "explore_slis")))
    assert made["summary"].outcomes["access_log"] == {"in": 86_400, "late": 0, "dead": 0}
    fired = made["alerts"].query("state == 'firing' and severity == 'page'")
    assert len(fired) == 1
    assert made["INCIDENT"][0] < fired["at"].iloc[0] < made["INCIDENT"][1]
    slis = made["slis"]
    assert slis["budget left"].iloc[-1] < 0
    assert slis["SLI 5 m"].min() < 0.95, "reports that were kept show the incident, not the end of the day"
    assert slis["SLI 5 m"].iloc[100] > 0.99
