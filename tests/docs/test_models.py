"""`docs/models.md`: its example in Python trains a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs" / "models.md"


def test_the_example_trains_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = blocks(PAGE, "python")
    monkeypatch.chdir(tmp_path)
    times = pd.date_range("2026-03-02", periods=600, freq="min", tz="UTC")
    rate = np.random.default_rng(0).normal(100, 5, len(times))
    pd.DataFrame({"time": times, "service": "cart", "rate": rate}).to_csv("requests.csv", index=False)
    names: dict[str, Any] = {}
    exec(compile(example.text, str(PAGE), "exec"), names)
    assert names["manifest"].features == ("rate",)
    assert names["registry"].versions("traffic") == (names["manifest"].version,)
