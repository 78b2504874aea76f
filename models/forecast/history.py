"""What a forecast is made from: a regular, complete, local-time history of one series.

Input of any kind is brought into one shape: times sorted and put on the grid of the step, duplicates
averaged, infinities and missing steps marked, wall-clock time where a time zone is given (so that a day has
its rush hour at the same place on both sides of a clock change), coarser steps where a day would have more
than `DAY_STEPS_MAX` of them, gaps filled from the season around them, lone spikes replaced. The values
before filling are kept: only they count as truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.arrays import EpochMs, Mask, Numbers
from models.calendar.units import DAY_MS
from models.forecast.holidays import Holidays, learn_effect
from models.forecast.result import ForecastError

MONTH_MS = 365 * DAY_MS // 12 + DAY_MS // 48
"""A twelfth of 365¼ days: months lie on a grid of it, within two days."""

DAY_STEPS_MAX = 96
"""Steps a day that models see; finer series are averaged and the forecast is drawn through the averages."""

STEPS_MAX = 3_000
"""Steps of history that models see, four months of hours; older ones cost time and teach little."""

GRID_STEPS_MAX = 10_000_000
"""Steps between first and last time; more points at a wrong step (seconds taken for milliseconds, say)."""

MAGNITUDE_MAX = 1e100
"""Larger values overflow when squared."""

SPIKE_DEVIATIONS = 25.0
"""A lone value this many typical deviations from the same place of neighbouring seasons is a spike."""


@dataclass(frozen=True, slots=True)
class History:
    """A regular history.

    fine : Numbers [T]      values at the given step in wall-clock order; NaN where missing
    end_ms : time (UTC) of the last of them
    step_ms : their step
    factor : how many fine steps make a step that models see
    measured : Numbers [C]  coarse values; NaN where missing
    filled : Numbers [C]    the same without gaps and lone spikes
    seasons : lengths in coarse steps, rising; each was seen at least three times
    time_zone : whose wall clock orders the values, or None for UTC
    holidays : days that were taken as missing and what they change, or None
    """

    fine: Numbers
    end_ms: int
    step_ms: int
    factor: int
    measured: Numbers
    filled: Numbers
    seasons: tuple[int, ...]
    time_zone: str | None
    holidays: Holidays | None


def wall_clock(times: EpochMs, time_zone: str | None) -> EpochMs:
    """Return the wall clock of a time zone at UTC times; the times themselves without a zone."""
    if time_zone is None:
        return times
    try:
        local = pd.DatetimeIndex(times.astype("datetime64[ms]"), tz="UTC").tz_convert(time_zone)
    except (KeyError, ValueError) as error:
        raise ForecastError(
            f"time_zone {time_zone!r} is not known; a name such as Europe/Berlin is"
        ) from error
    wall: EpochMs = local.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
    return wall


def on_grid(
    values: Numbers,
    times: EpochMs | None,
    step_ms: int,
    time_zone: str | None,
    *,
    after_ms: int | None = None,
) -> tuple[Numbers, int]:
    """Return values [T] on a grid of `step_ms` and the UTC time of the last; duplicates are averaged.

    after_ms : the newest time that is known already; the grid goes on from it

    Raises ForecastError where values and times do not go together or make no grid.
    """
    if step_ms < 1:
        raise ForecastError(f"step_ms must be at least 1 ms, found {step_ms}")
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1:
        raise ForecastError(f"values must be one series (one axis), found shape {given.shape}")
    given = np.where(np.isfinite(given), given, np.nan)
    seen = ~np.isnan(given)
    largest = float(np.abs(given[seen]).max(initial=0.0))
    if largest > MAGNITUDE_MAX:
        raise ForecastError(f"values reach {largest:.3g}, more than {MAGNITUDE_MAX:.0e}; use a larger unit")
    if times is None:
        start_ms = 0 if after_ms is None else after_ms + step_ms
        return given, start_ms + (len(given) - 1) * step_ms
    at = np.asarray(times)
    if at.shape != given.shape:
        raise ForecastError(f"as many times as values are needed, found {at.shape} and {given.shape}")
    at = at.astype("datetime64[ms]").astype(np.int64) if at.dtype.kind == "M" else at.astype(np.int64)
    if after_ms is not None:
        given, seen, at = given[at > after_ms], seen[at > after_ms], at[at > after_ms]
    if not len(at):
        return given, 0 if after_ms is None else after_ms
    start_ms, end_ms = int(at.min()) if after_ms is None else after_ms, int(at.max())
    ends = wall_clock(np.array([start_ms, end_ms], dtype=np.int64), time_zone)
    length = int(np.rint((ends[1] - ends[0]) / step_ms)) + (after_ms is None)
    if not 0 <= length <= GRID_STEPS_MAX:
        raise ForecastError(
            f"times span {length} steps of {step_ms} ms, limit {GRID_STEPS_MAX}; are both in milliseconds?"
        )
    slots = length - 1 - np.rint((ends[1] - wall_clock(at, time_zone)) / step_ms).astype(np.int64)
    there = seen & (slots >= 0) & (slots < length)
    count = np.bincount(slots[there], minlength=length)
    total = np.bincount(slots[there], weights=given[there], minlength=length)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), end_ms


def calendar_seasons(step_ms: int) -> tuple[int, ...]:
    """Return the seasons in steps that people and calendars make: a day, a week, a year."""
    spans = (DAY_MS, 7 * DAY_MS)
    lengths = [span // step_ms for span in spans if span % step_ms == 0 and span // step_ms >= 2]
    year = 365.25 * DAY_MS / step_ms
    if step_ms >= DAY_MS and year >= 3.5:
        lengths.append(round(year))
    return tuple(lengths)


def repeating_season(values: Numbers) -> tuple[int, ...]:
    """Return the lag at which a series without gaps repeats itself best, where it clearly does."""
    changes = np.diff(values)
    longest = len(changes) // 3
    if longest < 4 or not changes.any():
        return ()
    centred = changes - changes.mean()
    size = 1 << (2 * len(centred) - 1).bit_length()
    power = np.abs(np.fft.rfft(centred, size)) ** 2
    correlation = np.fft.irfft(power, size)[: longest + 1]
    if correlation[0] <= 1e-18 * float(np.abs(values).max()) ** 2:
        return ()  # a line, but for rounding
    correlation = correlation / correlation[0]
    peaks = (
        np.flatnonzero((correlation[2:-1] > correlation[1:-2]) & (correlation[2:-1] >= correlation[3:])) + 2
    )
    if not len(peaks):
        return ()
    best = int(peaks[correlation[peaks].argmax()])
    return (best,) if correlation[best] > max(0.4, 4 / np.sqrt(len(changes))) else ()


def average(fine: Numbers, factor: int) -> Numbers:
    """Return averages [T // factor] of neighbours, counted from the end; NaN where all are missing."""
    if factor == 1:
        return fine
    blocks = fine[len(fine) % factor :].reshape(-1, factor)
    seen = ~np.isnan(blocks)
    count = seen.sum(axis=1)
    return np.where(count > 0, np.where(seen, blocks, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def fill_gaps(values: Numbers, season: int) -> Numbers:
    """Return values [T] with gaps filled: a line through the level, and the season's shape on it."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    rows = np.arange(len(values))
    profile = np.zeros(max(season, 1))
    if 2 <= season <= len(values) // 2:
        level = np.interp(rows, rows[~missing], values[~missing])
        total = np.cumsum(np.concatenate([[0.0], level]))
        left, right = np.maximum(rows - season // 2, 0), np.minimum(rows - season // 2 + season, len(values))
        rest = values - (total[right] - total[left]) / (right - left)
        padded = np.full(-(-len(values) // season) * season, np.nan)
        padded[: len(values)] = rest
        by_place = padded.reshape(-1, season)
        known = (~np.isnan(by_place)).any(axis=0)
        profile[known] = np.nanmedian(by_place[:, known], axis=0)
    shape = profile[rows % len(profile)]
    line = np.interp(rows, rows[~missing], (values - shape)[~missing])
    return np.where(missing, line + shape, values)


def remove_spikes(values: Numbers, season: int) -> Numbers:
    """Return values [T] (without gaps), lone spikes replaced by what is usual at their place.

    Only single steps and pairs count as spikes, and only where they are rare (below 1 %): what comes more
    often or lasts longer is how the series behaves.
    """
    reach = season if 2 <= season <= len(values) // 5 else 1
    if len(values) < 6 * reach or len(values) < 24:
        return values
    shifts = np.array([-2, -1, 1, 2]) * reach
    rows = np.arange(len(values))[:, None] + shifts[None, :]
    rows = np.where(rows < 0, rows + 5 * reach, np.where(rows >= len(values), rows - 5 * reach, rows))
    usual = np.median(values[rows], axis=1)
    far = np.abs(values - usual)
    typical = np.sort(far)[int(0.75 * len(far))]
    if typical <= 0:
        return values
    spike: Mask = far > SPIKE_DEVIATIONS * typical
    padded = np.concatenate([[False, False], spike, [False, False]])
    run = padded[1:-3] & padded[2:-2] & padded[3:-1]
    longer = spike & (run | (padded[:-4] & padded[1:-3]) | (padded[3:-1] & padded[4:]))
    lone = spike & ~longer
    lone[-2:] = False  # the newest may be the beginning of something
    if lone.mean() > 0.01:
        return values
    return np.where(lone, usual, values)


def holiday_days(holidays: EpochMs | None, time_zone: str | None, step_ms: int) -> Holidays | None:
    """Return the days that times [N] lie in, without effect yet; None where steps are longer."""
    if holidays is None or not len(holidays) or step_ms > DAY_MS:
        return None
    at = np.asarray(holidays)
    at = at.astype("datetime64[ms]").astype(np.int64) if at.dtype.kind == "M" else at.astype(np.int64)
    return Holidays(np.unique(wall_clock(at, time_zone) // DAY_MS), np.zeros(1), step_ms)


def read_history(
    values: Numbers,
    times: EpochMs | None,
    step_ms: int,
    *,
    seasons: Sequence[int] | None,
    time_zone: str | None,
    holidays: EpochMs | None = None,
    steps_max: int = STEPS_MAX,
) -> History:
    """Return the history of a series; raises ForecastError where there is none to forecast from."""
    fine, end_ms = on_grid(values, times, step_ms, time_zone)
    if np.isnan(fine).all():
        raise ForecastError(f"no value was measured: all {len(fine)} are missing; give at least two")
    fine = fine[int(np.argmin(np.isnan(fine))) :]
    found = tuple(sorted({int(season) for season in seasons if season > 1})) if seasons is not None else None
    if found is None:
        found = calendar_seasons(step_ms)
    usable = [season for season in found if 3 * season <= len(fine)]
    if usable:
        least = -(-usable[0] // DAY_STEPS_MAX)
        if usable[0] > DAY_STEPS_MAX:  # coarser still where models see more history so
            least = max(least, min(2 * least, -(-len(fine) // STEPS_MAX)))
        factor = next((f for f in range(least, 3 * least) if usable[0] % f == 0), 1)
    else:
        factor = max(1, len(fine) // steps_max)
    coarse = tuple(season // factor for season in found if season % factor == 0)
    days = holiday_days(holidays, time_zone, step_ms)
    everything = average(fine, factor)[-steps_max:]
    if days is not None:
        end_wall = int(wall_clock(np.array([end_ms], dtype=np.int64), time_zone)[0])
        on_holiday = days.on(end_wall - step_ms * np.arange(len(fine))[::-1])
        if not np.isnan(np.where(on_holiday, np.nan, fine)).all():
            fine = np.where(on_holiday, np.nan, fine)
    measured = average(fine, factor)[-steps_max:]
    fitting = tuple(season for season in coarse if 3 * season <= len(measured))
    filled = fill_gaps(measured, max(fitting, default=0))
    if seasons is None and not fitting:
        fitting = repeating_season(filled)
    if days is not None:
        wall = end_wall - step_ms * factor * np.arange(len(measured))[::-1] - step_ms * (factor - 1)
        gone = days.on(wall)
        effect = learn_effect((everything - filled)[gone], wall[gone], days.place_ms * factor)
        days = Holidays(days.days, effect, days.place_ms * factor)
    filled = remove_spikes(filled, min(fitting, default=0))
    return History(fine, end_ms, step_ms, factor, measured, filled, fitting, time_zone, days)
