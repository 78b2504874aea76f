"""Detectors are trained, tested and brought back by name."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.api.detector import Panel
from detectors.api.registry import DetectorError
from detectors.feedback.fitting import backtest_holdout, intervals_of, judged, learn, restored, run_backtest
from detectors.feedback.labels import Label
from models.registry.model_files import pack_state, unpack_state
from tests.unit.zscore import NAME, ZScore

MINUTE = 60_000


def panel(steps: int = 400, spikes: tuple[int, ...] = (350,)) -> Panel:
    values = np.random.default_rng(3).normal(size=(steps, 2, 1))
    values[list(spikes), 0] = 50.0
    return Panel(np.arange(1, steps + 1) * MINUTE, (("a",), ("b",)), ("rate",), values)


def arrays(data: Panel) -> tuple[object, ...]:
    return data.times, data.series, data.features, data.values


def test_a_stored_detector_judges_as_the_one_that_learnt() -> None:
    data = panel()
    state = unpack_state(pack_state(learn(NAME, {}, *arrays(data))))
    again = restored(NAME, {}, state, trusted=[NAME])
    assert (again.update(data).tail == ZScore().fit(data).update(data).tail).all()


def test_what_a_model_names_is_imported_only_if_it_is_trusted() -> None:
    for name in (NAME, "os:system", "subprocess:Popen"):
        with pytest.raises(DetectorError, match="not installed"):
            restored(name, {"args": "true"}, {})
    with pytest.raises(ValueError, match="no state of a ZScore"):
        restored(NAME, {}, {"names": []}, trusted=[NAME])


def test_the_backtest_learns_from_the_first_steps_only() -> None:
    data = panel(spikes=(100, 350))
    metrics = backtest_holdout(NAME, {}, *arrays(data), 300)
    assert metrics["episodes"] == 1.0
    assert metrics["series_weeks"] == pytest.approx(200 * MINUTE / (7 * 86_400_000))
    changed = Panel(*arrays(panel(spikes=(350,))))
    assert backtest_holdout(NAME, {"threshold": 1e-300}, *arrays(changed), 300)["episodes"] == 1.0
    assert backtest_holdout(NAME, {"threshold": 1e-320}, *arrays(data), 300)["episodes"] == 0.0


def test_labels_of_detector_and_model_count() -> None:
    data = panel(spikes=(320, 350))
    at = [(step + 1) * MINUTE for step in (320, 350, 10)]
    labels = (
        Label("zscore", ("a",), "real", from_ms=at[0], to_ms=at[0]),
        Label("mine", ("a",), "noise", from_ms=at[1], to_ms=at[1]),
        Label("mine", ("a",), "expected", from_ms=at[1] + 1, to_ms=at[1] + 2),
        Label("mine", ("gone",), "real", from_ms=at[0], to_ms=at[0]),
        Label("other", ("a",), "real", from_ms=at[0], to_ms=at[0]),
        Label("mine", ("b",), "real", from_ms=at[2], to_ms=at[2]),
    )
    found = run_backtest(
        ZScore().fit(data.rows(0, 300)), data.rows(300, 400), labels, names=("zscore", "mine")
    )
    assert (found.real_labels, found.real_found, found.noise_episodes) == (1, 1, 1)
    assert found.precision == 0.5
    assert intervals_of(labels, data.rows(0, 0), ("mine",)) == []


def test_what_was_missing_is_not_expected_to_be_judged() -> None:
    data = panel()
    data.values[:, 1] = np.nan
    assert run_backtest(ZScore().fit(data), data).judged == 1.0
    assert run_backtest(ZScore(), data).judged == 0.0
    assert run_backtest(ZScore(), data.rows(0, 0)).episodes == 0


def test_steps_are_judged_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detectors.feedback.fitting.CHUNK_VALUES", 20)
    data = panel()
    parts = list(judged(ZScore().fit(data), data))
    assert [len(rows) for rows, _ in parts] == [10] * 40
