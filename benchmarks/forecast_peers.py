"""Who forecasts are compared with: simple and plain models in the same run, and published results.

Each peer returns the median forecast and its 80 % and 95 % intervals, as it comes.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.forecast_scoring import Case
from models.arrays import Numbers

NORMAL = (1.2815515655446004, 1.959963984540054)
"""Half widths of the 80 % and the 95 % interval of a normal distribution."""

ETS_STEPS_MAX = 3_000
"""History that ETS sees: its fit takes time in proportion."""

PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "m4_hourly": {
        "m4_winner_smyl": {"smape": 9.328, "mase": 0.893, "owa": 0.440, "series": 414},
        "m4_second_montero_manso": {"smape": 11.506, "mase": 0.819, "owa": 0.484, "series": 414},
    },
    "m4_weekly": {
        "m4_winner_smyl": {"smape": 7.817, "mase": 2.356, "owa": 0.851, "series": 359},
        "m4_second_montero_manso": {"smape": 7.625, "mase": 2.108, "owa": 0.796, "series": 359},
    },
}
"""Makridakis et al., The M4 Competition (2020), over all series of the kind; here is a part of them."""

Peer = Callable[[Case], tuple[Numbers, Numbers, Numbers]]


def bridged(past: Numbers) -> Numbers:
    """Return a history with gaps bridged by lines, for peers that know no gaps."""
    rows = np.arange(len(past))
    known = ~np.isnan(past)
    return np.interp(rows, rows[known], past[known])


def normal_intervals(median: Numbers, deviation: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return median [H], lower [2, H] and upper [2, H] ends."""
    widths = np.array(NORMAL)[:, None] * deviation
    return median, median - widths, median + widths


def seasonal_naive(case: Case) -> tuple[Numbers, Numbers, Numbers]:
    """Repeat the last season; its errors grow with the root of the seasons ahead."""
    past, season = bridged(case.past), case.season
    ahead = np.arange(len(case.future))
    deviation = np.sqrt(np.mean((past[season:] - past[:-season]) ** 2)) * np.sqrt(1 + ahead // season)
    return normal_intervals(past[-season:][ahead % season], deviation)


def plain_ets(case: Case) -> tuple[Numbers, Numbers, Numbers]:
    """Fit statsmodels' additive exponential smoothing with damped trend, and the season where it is short."""
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    past, horizon = bridged(case.past)[-ETS_STEPS_MAX:], len(case.future)
    season = case.season if case.season > 1 and 2 * case.season <= len(past) else None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        model = ExponentialSmoothing(
            past,
            trend="add",
            damped_trend=True,
            seasonal="add" if season else None,
            seasonal_periods=season,
            initialization_method="heuristic" if len(past) >= 10 else "estimated",
        ).fit()
        median = np.asarray(model.forecast(horizon))
        level = float(model.params["smoothing_level"])
        deviation = float(np.std(model.resid)) * np.sqrt(1 + level**2 * np.arange(horizon))
    return normal_intervals(np.nan_to_num(median, nan=float(past[-1])), deviation)


PEERS: dict[str, Peer] = {"seasonal_naive": seasonal_naive, "statsmodels_ets": plain_ets}


def statsforecast_seconds(cases: list[Case]) -> dict[str, dict[str, float]]:
    """Return seconds per series of statsforecast's AutoETS and MSTL; nothing where it is not installed.

    The first series is fitted once before, so that compiling is not counted.
    """
    try:
        from statsforecast.models import MSTL, AutoETS
    except ImportError:
        return {}
    found = {}
    season = cases[0].season
    models: dict[str, Callable[[], Any]] = {
        "statsforecast_auto_ets": lambda: AutoETS(season_length=season),
        "statsforecast_mstl": lambda: MSTL(season_length=[season, 7 * season] if season == 24 else [season]),
    }
    if season == 1:
        del models["statsforecast_mstl"]
    for name, make in models.items():
        spent = []
        for case in [cases[0], *cases]:
            past = bridged(case.past)
            started = time.process_time()
            model = make().fit(past)
            fitted = time.process_time()
            model.predict(h=len(case.future), level=[80, 95])
            forecast = time.process_time()
            started_update = time.process_time()
            model.forward(past, h=len(case.future))
            spent.append([fitted - started, time.process_time() - started_update, forecast - fitted])
        seconds = np.mean(spent[1:], axis=0).tolist()
        found[name] = dict(zip(("fit_seconds", "update_seconds", "forecast_seconds"), seconds, strict=True))
        found[name]["series"] = len(cases)
    return found
