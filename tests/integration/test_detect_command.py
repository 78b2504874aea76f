"""`streamgauge detect`: tables in, anomalies, verdicts and a plot out; mistakes told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

START = pd.Timestamp("2026-05-01T00:00Z")


def table(minutes: int = 600) -> pd.DataFrame:
    """Two routes of a service; one of them has ten minutes of far too many requests."""
    rng = np.random.default_rng(5)
    tables = []
    for route, level in (("/a", 50.0), ("/b", 20.0)):
        rate = rng.normal(level, 2.0, minutes)
        if route == "/a":
            rate[500:510] += 200.0
        times = START + pd.to_timedelta(np.arange(minutes), unit="min")
        tables.append(pd.DataFrame({"time": times, "route": route, "rate": rate}))
    return pd.concat(tables)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detect")
    table().to_csv(folder / "rates.csv", index=False)
    table().to_parquet(folder / "rates.parquet", index=False)
    return folder


def detect(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streams.cli", "detect", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", ["rates.csv", "rates.parquet"])
def test_an_incident_is_told_once_with_its_reason(folder: Path, name: str) -> None:
    done = detect(folder / name, "--by", "route", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["series"], told["steps"]) == (2, 510)
    (anomaly,) = told["anomalies"]
    assert anomaly["series"] == ["/a"]
    begins = pd.Timestamp(anomaly["from"])
    assert START + pd.Timedelta(minutes=500) <= begins <= START + pd.Timedelta(minutes=502)
    (because,) = anomaly["contributions"]
    assert because["feature"] == "rate"
    assert because["seen"] > because["expected"] + 100


def test_a_series_has_its_own_names_also_where_alerts_have_labels_of_that_name(tmp_path: Path) -> None:
    table().assign(service="shop").to_csv(tmp_path / "rates.csv", index=False)
    done = detect(tmp_path / "rates.csv", "--by", "service", "--by", "route", "--json")
    (anomaly,) = json.loads(done.stdout)["anomalies"]
    assert anomaly["series"] == ["shop", "/a"]


def test_verdicts_and_a_plot_are_written(folder: Path, tmp_path: Path) -> None:
    done = detect(
        folder / "rates.csv", "--by", "route", "-o", tmp_path / "v.parquet", "--plot", tmp_path / "p.png"
    )
    assert done.returncode == 0, done.stderr
    verdicts = pd.read_parquet(tmp_path / "v.parquet")
    assert len(verdicts) == 2 * 510
    assert verdicts.loc[verdicts["alarm"], "route"].unique().tolist() == ["/a"]
    assert verdicts["score"].dropna().between(0, 1).all()
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert "1 anomalies in 510 steps of 2 series" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["rates.csv"], 1, "occurs twice"),
        (
            ["rates.csv", "--by", "rout"],
            1,
            "no column is called 'rout'; the file has time, route, rate",
        ),
        (["rates.csv", "--by", "route", "--detector", "trafic"], 2, "there are logs, multivariate"),
        (["missing.csv"], 1, "cannot be read"),
    ],
)
def test_mistakes_are_told(folder: Path, arguments: list[str], code: int, message: str) -> None:
    done = detect(folder / arguments[0], *arguments[1:])
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
