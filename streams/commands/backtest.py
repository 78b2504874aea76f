"""`streamgauge backtest`: how good forecasts of a file's column would have been."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.commands.console import JsonOutput, fail, progress_bar, say, say_json, tell
from streams.commands.forecast import (
    AggregateOption,
    Below,
    Column,
    Horizon,
    Limit,
    Period,
    Seed,
    SeriesFile,
    Step,
    question_of,
    series_of,
)
from streams.commands.table_options import TimeColumn
from streams.commands.tables import number, print_table, share, span

if TYPE_CHECKING:
    from models.capacity.crossing_cases import CrossingCase
    from models.forecast.rolling_origin import RollingOrigin
    from streams.offline.series_file import Series

RELIABILITY_CASES = 10
"""Fewer cases say nothing of calibration, which a note then tells."""


def backtest(
    file: SeriesFile,
    column: Column = None,
    limit: Limit = None,
    horizon: Horizon = "1d",  # type: ignore[assignment]
    origins: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="N", help="Times in the past to forecast from.")
    ] = 20,
    below: Below = False,
    time: TimeColumn = None,
    step: Step = None,
    aggregate: AggregateOption = None,
    seed: Seed = 0,
    as_json: JsonOutput = False,
) -> None:
    """Forecast from many times in the past, and compare with what happened.

    It prints the error relative to repeating the last season (MASE; lower than seasonal naive is better), how
    often intervals covered the actual values, and with --limit how often the limit was reached when forecast
    with 70 to 90 %, and the Brier score compared with past frequencies alone. Origins lie in the last half of
    the file; no forecast sees values after its origin.

    **Example**

        streamgauge backtest requests.csv --column rate --horizon 7d

        streamgauge backtest pool.csv --column checked_out --limit 20 --origins 100 --json
    """
    from models.capacity.crossing_cases import crossing_cases
    from models.forecast.rolling_origin import backtest as run
    from models.forecast.rolling_origin import place_origins, season_steps
    from streams.offline.full_forecast import make_forecast

    try:
        question = question_of(horizon, limit, below, None, Period.DAY, "UTC", seed)
        series = series_of(
            file, question, column=column, time=time, step=step, aggregate=aggregate, limit_column=None
        )
        steps, season = question.steps(series), season_steps(series.step_ms)
        least = max(len(series) // 2, min(2 * season + 1, len(series) - steps))
        places = place_origins(len(series), horizon=steps, count=origins, least=least)
        cases: list[CrossingCase] = []
        with progress_bar("origins") as bars:
            bar = bars.add_task("Forecasting", total=len(places))

            def seen(origin: int, made: Any) -> None:
                if limit is not None:
                    cases.extend(
                        crossing_cases(
                            series.values,
                            made,
                            origin=origin,
                            horizon=steps,
                            limits=[limit],
                            above=not below,
                        )
                    )
                bars.advance(bar)

            result = run(
                series.values,
                lambda origin: (
                    make_forecast(
                        series.values[:origin], series.even_starts[:origin], series.step_ms, steps, seed=seed
                    ).forecast
                ),
                origins=places,
                horizon=steps,
                season=season,
                seen=seen,
            )
    except ValueError as error:
        fail(str(error))
    for note in series.notes:
        tell(f"note: {note}")
    reported = {"file": str(file), **_report(series, steps, season, result)}
    reported |= _crossing_report(cases, limit, below)
    if as_json:
        say_json(json.dumps(reported, indent=2, allow_nan=False))
    else:
        _show(reported)


def _report(series: Series, steps: int, season: int, result: RollingOrigin) -> dict[str, Any]:
    from detectors.capacity.reading import finite
    from models.forecast.rolling_origin import LEVELS
    from streams.offline.forecast_report import instant

    return {
        "column": series.name,
        "step_seconds": series.step_ms / 1000,
        "horizon_seconds": steps * series.step_ms / 1000,
        "season_steps": season,
        "origins": len(result.origins),
        "first_origin": instant(int(series.starts[result.origins[0]])),
        "last_origin": instant(int(series.starts[result.origins[-1]])),
        "mase": finite(result.mase),
        "mase_seasonal_naive": finite(result.naive_mase),
        "coverage": {f"{level:g}": finite(result.coverage(level)) for level in LEVELS},
        "models": dict(Counter(result.models).most_common()),
    }


def _crossing_report(cases: list[CrossingCase], limit: float | None, below: bool) -> dict[str, Any]:
    import numpy as np

    from detectors.capacity.reading import finite
    from models.forecast.reliability import brier_score, reliability_table

    if limit is None:
        return {"limit": None}
    said = np.array([case.probability for case in cases])
    usual = np.array([case.climatology for case in cases])
    happened = np.array([case.happened for case in cases], np.bool_)
    if len(cases) < RELIABILITY_CASES:
        tell(f"note: only {len(cases)} origins below the limit; give more --origins to judge probabilities")
    return {
        "limit": {"value": limit, "direction": "below" if below else "above"},
        "cases": len(cases),
        "happened": int(happened.sum()),
        "brier": finite(brier_score(said, happened)),
        "brier_climatology": finite(brier_score(usual, happened)),
        "reliability": [asdict(row) for row in reliability_table(said, happened)],
    }


def _show(reported: dict[str, Any]) -> None:
    say(
        f"{reported['column']}: {reported['origins']} origins from {reported['first_origin']} to "
        f"{reported['last_origin']}, each {span(reported['horizon_seconds'])} ahead"
    )
    say(
        f"MASE {number(reported['mase'])}, seasonal naive {number(reported['mase_seasonal_naive'])}; "
        + ", ".join(
            f"{share(float(level))} interval held {share(held, 1)}"
            for level, held in reported["coverage"].items()
        )
    )
    if reported["limit"] is None:
        return
    say(
        f"limit {number(reported['limit']['value'])}: reached {reported['happened']} times of "
        f"{reported['cases']}; Brier score {number(reported['brier'])}, of climatology "
        f"{number(reported['brier_climatology'])}"
    )
    figures = ("cases", "mean said", "happened", "90 % interval")
    print_table(
        ("said", *figures),
        (
            (
                f"{share(row['low'])} to {share(row['high'])}",
                number(row["count"]),
                share(row["mean_probability"]),
                share(row["observed"]),
                f"{share(row['observed_low'])} to {share(row['observed_high'])}",
            )
            for row in reported["reliability"]
            if row["count"]
        ),
        right=figures,
    )
