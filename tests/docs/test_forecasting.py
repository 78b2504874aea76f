"""`docs/forecasting.md`: its notebook cell runs, and its bounds and figures are those of the code."""

from __future__ import annotations

from detectors.capacity.alerts import ALERTNAMES, DEFAULT_RULE
from models.capacity.crossing import COMMON_SHARE
from models.forecast.level_shift import LIFETIME_MS, OUTSIDE, STEPS_MIN
from tests.docs.pages import ROOT, blocks, code, read, section, table

PAGE = ROOT / "docs" / "forecasting.md"


def test_the_notebook_cell_runs() -> None:
    (cell,) = blocks(PAGE, "python")
    names: dict[str, object] = {}
    exec(compile(cell.text, str(PAGE), "exec"), names)
    crossing = names["crossing"]
    assert 0 <= crossing.probability <= 1  # type: ignore[attr-defined]
    assert len(names["outlooks"]) >= 6  # type: ignore[arg-type]


def test_the_alerts_are_those_of_the_code_with_their_bounds() -> None:
    rows = {code(name)[0]: begins + ends for name, begins, ends in table(section(PAGE, "Alerts"))}
    assert set(rows) == set(ALERTNAMES)
    assert f"({DEFAULT_RULE.warn:g})" in rows["QuotaWarning"]
    assert f"({DEFAULT_RULE.probability:g})" in rows["QuotaWillExhaust"]
    assert f"({DEFAULT_RULE.probability_clear:g})" in rows["QuotaWillExhaust"]
    assert DEFAULT_RULE.clear_after_ms == 10 * 60_000
    assert DEFAULT_RULE.warn_clear / DEFAULT_RULE.warn == 0.9375


def test_figures_in_words_are_those_of_the_code() -> None:
    text = " ".join(read(PAGE).split())
    assert COMMON_SHARE == 0.25
    assert "a quarter of their errors in common" in text
    assert (STEPS_MIN, OUTSIDE, LIFETIME_MS) == (3, 0.01, 86_400_000)
    assert "the last three hours" in text
    assert "beyond 98 % of the paths" in text
    assert "over after a day on average" in text
