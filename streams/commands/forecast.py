"""`streamgauge forecast`: a file's column ahead, and when it reaches its limit or uses up its quota."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.calendar.units import DAY_MS, HOUR_MS, MINUTE_MS
from streams.commands.console import (
    USAGE,
    JsonOutput,
    duration_seconds,
    fail,
    progress_bar,
    say,
    say_json,
    tell,
)
from streams.commands.table_options import TimeColumn
from streams.commands.tables import number, print_table, share, span

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from streams.offline.forecast_report import Answers, Question
    from streams.offline.series_file import Aggregate, Series


class Period(StrEnum):
    """How often a quota resets."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class AggregateName(StrEnum):
    """How rows within one step become one value."""

    MEAN = "mean"
    SUM = "sum"
    MAX = "max"
    MIN = "min"
    LAST = "last"
    COUNT = "count"


SeriesFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="CSV with a head line (plain, .gz, .zst) or Parquet.")
]
Column = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The column to forecast; may be left out if there is only one."),
]
Horizon = Annotated[float, typer.Option(metavar="DURATION", parser=duration_seconds, help="How far ahead.")]
Step = Annotated[
    float | None,
    typer.Option(
        metavar="DURATION", parser=duration_seconds, help="Steps of the forecast; the file's own by default."
    ),
]
AggregateOption = Annotated[
    AggregateName | None,
    typer.Option(help="How rows of one step are joined: by default sum for a quota, else mean."),
]
Limit = Annotated[float | None, typer.Option(metavar="NUMBER", help="When will the column reach this value?")]
LimitColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="A column that is the limit, such as a pool's size.")
]
Below = Annotated[bool, typer.Option("--below", help="The limit is a floor, reached from above.")]
Quota = Annotated[
    float | None, typer.Option(metavar="NUMBER", help="Amount that a period may use: will it last?")
]
PeriodOption = Annotated[Period, typer.Option(help="How often the quota resets.")]
TimeZone = Annotated[str, typer.Option(metavar="ZONE", help="Where the period's days begin at midnight.")]
Seed = Annotated[int, typer.Option(metavar="N", help="The same seed gives the same forecast.")]

STEPS_WANTED = 1_000
"""A horizon of more steps is forecast in larger ones, unless --step says otherwise."""

ROUND_STEPS_MS = tuple(
    n * unit
    for unit, counts in ((MINUTE_MS, (1, 5, 10, 15, 30)), (HOUR_MS, (1, 2, 3, 6, 12)), (DAY_MS, (1, 7)))
    for n in counts
)


def forecast(
    file: SeriesFile,
    column: Column = None,
    limit: Limit = None,
    horizon: Horizon = "7d",  # type: ignore[assignment]
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the forecast as a fan: .png, .svg or .pdf.")
    ] = None,
    limit_column: LimitColumn = None,
    below: Below = False,
    quota: Quota = None,
    period: PeriodOption = Period.DAY,
    time_zone: TimeZone = "UTC",
    time: TimeColumn = None,
    step: Step = None,
    aggregate: AggregateOption = None,
    seed: Seed = 0,
    as_json: JsonOutput = False,
) -> None:
    """Forecast a column of a file: how likely it reaches its limit, when, and how sure that is.

    Rows are measurements at evenly spaced times, gaps allowed; with --step and --aggregate they may be single
    events. A quota adds up what its period has used and what is forecast of the rest, so its horizon reaches
    at least to the period's end. Without --step, a horizon of more than 1,000 steps is forecast in larger
    ones: of their highest values for a limit, of sums for a quota.

    **Example**

        streamgauge forecast pool.csv --column checked_out --limit 20 --horizon 7d --plot out.png

        streamgauge forecast usage.parquet --column rows_read --quota 1e6 --time-zone Europe/Berlin

        streamgauge forecast disk.csv --column used --limit-column size --horizon 30d --json | jq .limit
    """
    from models.plots.fan import PlotError, check_plot_path, save_fan_plot
    from streams.offline.forecast_report import ask, report

    if limit is not None and limit_column is not None:
        fail("--limit and --limit-column: give one of them", USAGE)
    try:
        if plot is not None:
            check_plot_path(plot)
        question = question_of(horizon, limit, below, quota, period, time_zone, seed)
        with progress_bar("steps") as bars:
            bar = bars.add_task("Reading", total=2)
            series = series_of(
                file,
                question,
                column=column,
                time=time,
                step=step,
                aggregate=aggregate,
                limit_column=limit_column,
            )
            bars.update(bar, advance=1, description="Forecasting")
            answers = ask(series, question)
            bars.advance(bar)
        reported = {"file": str(file), **report(series, question, answers)}
        for note in reported["notes"]:
            tell(f"note: {note}")
        if plot is not None:
            figure = _figure(series, answers)
            save_fan_plot(plot, figure)
    except (PlotError, ValueError) as error:
        fail(str(error))
    if as_json:
        say_json(json.dumps(reported, indent=2, allow_nan=False))
    else:
        _show(reported)
        if plot is not None:
            say(f"Drawn to {plot}")


def _figure(series: Series, answers: Answers) -> Figure:
    """The fan of values, or of a quota's sums where only that is asked for."""
    from models.plots.fan import fan_figure
    from models.plots.quota import quota_figure

    title = f"{series.name}: {answers.forecast.model_name}"
    if answers.outlooks and answers.crossing is None:
        return quota_figure(
            series.starts, series.values, series.step_ms, answers.paths, answers.outlooks[0], title=title
        )
    return fan_figure(
        series.starts,
        series.values,
        series.step_ms,
        answers.forecast,
        title=title,
        limit=answers.bound,
        crossing=answers.crossing,
    )


def question_of(
    horizon: float,
    limit: float | None,
    below: bool,
    quota: float | None,
    period: Period,
    time_zone: str,
    seed: int,
) -> Question:
    """The options as a question; ends the command if they contradict each other."""
    from models.calendar.period import CalendarPeriod
    from streams.offline.forecast_report import Question

    if horizon <= 0:
        fail(f"--horizon: expected a duration above zero, found {horizon:g}s", USAGE)
    if quota is not None and not 0 < quota < float("inf"):
        fail(f"--quota: expected a number above zero, found {quota:g}", USAGE)
    try:
        chosen = CalendarPeriod(period.value, time_zone)
    except ValueError as error:
        fail(f"--time-zone: {error}", USAGE)
    return Question(round(horizon * 1000), limit, not below, quota, chosen, seed)


def series_of(
    file: Path,
    question: Question,
    *,
    column: str | None,
    time: str | None,
    step: float | None,
    aggregate: AggregateName | None,
    limit_column: str | None,
) -> Series:
    """The column, in steps that suit the question.

    Raises TableFileError.
    """
    from dataclasses import replace

    from streams.language.duration import format_duration
    from streams.offline.series_file import coarsened, read_series
    from streams.offline.table_file import read_table

    joined: Aggregate = (
        aggregate.value if aggregate is not None else "sum" if question.quota is not None else "mean"
    )
    step_ms = None if step is None else max(round(step * 1000), 1)
    series = read_series(
        read_table(file),
        column,
        time=time,
        step_ms=step_ms,
        aggregate=joined,
        limit_column=limit_column,
    )
    limited = question.limit is not None or limit_column is not None
    if step is not None or question.horizon_ms <= STEPS_WANTED * series.step_ms:
        return series
    if limited and question.quota is not None:
        return series  # highest values for one question, sums for the other: no step suits both
    wanted = next(
        (
            one
            for one in ROUND_STEPS_MS
            if one % series.step_ms == 0 and question.horizon_ms <= STEPS_WANTED * one
        ),
        None,
    )
    if wanted is None:
        return series
    if aggregate is None and question.quota is None and limited:
        joined = "max" if question.above else "min"
    larger = coarsened(series, wanted, "sum" if joined == "count" else joined)
    note = f"forecast in steps of {format_duration(wanted)} ({joined} of each); --step chooses others"
    return replace(larger, notes=(*larger.notes, note))


def _show(reported: dict[str, Any]) -> None:
    from streams.offline.forecast_report import as_rows

    coverage = ", ".join(
        f"{share(float(level))} interval held {share(held)}"
        for level, held in reported["coverage"].items()
        if held is not None
    )
    mase = "no backtest" if reported["mase"] is None else f"MASE {number(reported['mase'])} in its backtest"
    say(
        f"{reported['column']}: {reported['observations']:,} values up to {reported['last_time']}, "
        f"{span(reported['horizon_seconds'])} ahead in steps of {span(reported['step_seconds'])}"
    )
    say(f"model: {reported['model']}; {mase}" + (f"; {coverage}" if coverage else ""))
    quantiles = ("5 %", "median", "95 %")
    print_table(
        ("time", *quantiles),
        ((time, *map(number, values)) for time, *values in as_rows(reported)),
        right=quantiles,
    )
    if reported["limit"] is not None:
        _show_limit(reported["limit"], reported["horizon_seconds"])
    if reported["quota"] is not None:
        _show_quota(reported["quota"])


def _show_limit(limit: dict[str, Any], horizon_seconds: float) -> None:
    value = "its column" if limit["value"] is None else number(limit["value"])
    if limit["expected_seconds"] == 0:
        say(f"Limit: {value} has been reached already")
        return
    say(
        f"Limit: {value} is reached from {'below' if limit['direction'] == 'above' else 'above'} within "
        f"{span(horizon_seconds)} with probability {share(limit['probability'])}{_when(limit)}"
    )


def _show_quota(quota: dict[str, Any]) -> None:
    say(
        f"Quota of {number(quota['quota'])} a {quota['period']} ({quota['time_zone']}): "
        f"{share(quota['used_ratio'])} used so far"
    )
    for one in quota["periods"]:
        say(
            f"  {one['start']} to {one['end']}: {share(one['forecast_ratio'])} in the median, exceeded with "
            f"probability {share(one['probability'])}{_when(one)}"
        )


def _when(crossing: dict[str, Any]) -> str:
    if crossing["expected_seconds"] is None:
        return ""
    low, high = map(span, crossing["range_seconds"])
    return f"; if so in {span(crossing['expected_seconds'])} (5 to 95 %: {low} to {high})"
