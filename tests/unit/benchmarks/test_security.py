"""The benchmark of attacks: what it finds and learns from, and that labels of what is judged stay unseen."""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import security

METRICS = {"roc_auc", "average_precision", "recall_at_1_percent_fp", "seconds"}


def connection(random: np.random.Generator, label: str, service: str) -> str:
    """A row of NSL-KDD with its label and difficulty."""
    size = random.integers(100, 200) if label == "normal" else random.integers(10**6, 10**7)
    numbers = [str(int(random.random() < 0.01)) for _ in range(36)]
    return ",".join(["0", "tcp", service, "SF", str(size), *numbers, label, "21"])


def write_connections(path: Path, seed: int = 0, rows: int = 300, service: str = "http") -> None:
    random = np.random.default_rng(seed)
    lines = [connection(random, "neptune" if i % 5 == 4 else "normal", service) for i in range(rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_requests(folder: Path, seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    normal = [f"get http://shop/list?page={random.integers(9)}" for _ in range(200)]
    attacks = [f"get http://shop/list?page={random.integers(9)}'or'1'='1" for _ in range(50)]
    (folder / "normal.txt").write_bytes("\n".join(normal).encode())
    (folder / "anomalous.txt.gz").write_bytes(gzip.compress("\r\n".join(attacks).encode()))


def write_numbers(path: Path, seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    x = random.normal(size=(400, 3)).astype(np.float32)
    x[:20] += 9
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, X=x, y=(np.arange(400) < 20).astype(np.uint8))


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["security.py", *arguments])
    security.main()
    return json.loads(capsys.readouterr().out)["sets"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_connections(tmp_path / "data/nsl_kdd/KDDTrain+_20Percent.txt.gz")
    write_requests(tmp_path / "data/csic2010")
    write_numbers(tmp_path / "data/kdd99/http.npz")
    write_numbers(tmp_path / "data/kdd99/smtp.npz", seed=1)
    return tmp_path / "data"


def test_every_set_that_is_there_is_judged(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = run(monkeypatch, capsys, "--data", str(data))
    assert list(sets) == ["nsl_kdd", "csic2010", "http", "smtp"]
    for found in sets.values():
        assert set(found) == METRICS | {"isolation_forest"}
        assert set(found["isolation_forest"]) == METRICS
        assert found["roc_auc"] > 0.97


def test_normal_rows_of_another_folder_are_learnt_and_all_rows_judged(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_connections(other / "nsl_kdd/KDDTrain+.csv", rows=100)
    write_connections(other / "nsl_kdd/KDDTest+.txt", seed=3, rows=50, service="gopher")
    write_requests(other / "csic2010", seed=3)
    write_numbers(other / "kdd99/http.npz", seed=3)
    tasks = {name: prepare() for name, prepare in security.found_tasks(other, data)}
    assert {name: (len(task.learnt), len(task.judged)) for name, task in tasks.items()} == {
        "nsl_kdd": (240, 50),
        "csic2010": (200, 250),
        "http": (380, 400),
    }


def test_what_is_learnt_precedes_what_is_judged(data: Path) -> None:
    tasks = {name: prepare() for name, prepare in security.found_tasks(data, None)}
    assert len(tasks["nsl_kdd"].judged) == 90
    assert 0 < len(tasks["nsl_kdd"].learnt) <= 0.7 * 240
    assert (len(tasks["csic2010"].learnt), len(tasks["csic2010"].judged)) == (100, 150)
    assert len(tasks["http"].learnt) == len(tasks["http"].judged) == 400


def test_labels_of_what_is_judged_stay_unseen(data: Path) -> None:
    path = data / "nsl_kdd/KDDTrain+_20Percent.txt.gz"
    before = security.connections(data, None)
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    first = int(0.7 * len(lines))
    late = [line.replace("normal", "x").replace("neptune", "normal") for line in lines[first:]]
    # As many normal rows as before, so that 70 % of them are as many.
    kept = sum(line.endswith("normal,21") for line in lines[first:])
    late = [line.replace(",x,", ",normal,", 1) if n < kept else line for n, line in enumerate(late)]
    path.write_bytes(gzip.compress("\n".join([*lines[:first], *late]).encode()))
    after = security.connections(data, None)
    assert (before.attack != after.attack).any()
    np.testing.assert_array_equal(before.judged, after.judged)
    shared = min(len(before.learnt), len(after.learnt))
    np.testing.assert_array_equal(before.learnt[:shared], after.learnt[:shared])


def test_line_ends_do_not_tell_attacks(data: Path) -> None:
    assert not any(request.endswith("\r") for request in security.read_requests(data, "anomalous"))


def test_a_set_without_attacks_is_left_out_with_a_reason(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "csic2010/anomalous.txt.gz").unlink()
    (data / "nsl_kdd/KDDTrain+_20Percent.txt.gz").unlink()
    (data / "kdd99/smtp.npz").unlink()
    monkeypatch.setattr(sys, "argv", ["security.py", "--data", str(data)])
    security.main()
    found = capsys.readouterr()
    assert list(json.loads(found.out)["sets"]) == ["http"]
    assert "csic2010: left out, both attacks and normal rows" in found.err


def test_a_folder_without_sets_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["security.py", "--data", str(tmp_path)])
    with pytest.raises(SystemExit):
        security.main()


def test_figures_are_those_of_a_hand_made_ranking() -> None:
    attack = np.arange(1000) >= 900
    scores = np.arange(1000.0)
    assert security.figures(attack, scores) == {
        "roc_auc": 1.0,
        "average_precision": 1.0,
        "recall_at_1_percent_fp": 1.0,
    }
    scores[:20] = 950.5  # 20 of 900 normal rows are above half of the attacks
    assert security.figures(attack, scores)["recall_at_1_percent_fp"] == 0.49


@pytest.mark.skipif(
    "STREAMGAUGE_DATA" not in os.environ, reason="STREAMGAUGE_DATA names no folder of real data"
)
def test_attacks_on_a_shop_are_found_as_published() -> None:
    task = security.requests(Path(os.environ["STREAMGAUGE_DATA"]), None)
    every = slice(None, None, 4)
    found = security.judged(security.Task(task.learnt, task.judged[every], task.attack[every], True), 0.0, 0)
    assert found["roc_auc"] > 0.98
    assert found["recall_at_1_percent_fp"] > 0.9
