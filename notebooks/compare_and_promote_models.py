# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Compare two models, promote one, and take it back
#
# What `streamgauge models train`, `shadow`, `promote` and `rollback` do, step by step and with tables. Set
# `TABLE` to signals of your own and `REGISTRY` to a folder or any address that fsspec knows; without them
# four weeks of six services are made up, and the registry is a temporary folder.

# %%
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from streamgauge import (
    Label,
    Panel,
    Registry,
    compare_models,
    detector_of,
    diff_manifests,
    pack_state,
    train_model,
    try_promotion,
)

TABLE: pd.DataFrame | None = None
REGISTRY = tempfile.mkdtemp()
NAME = "traffic"
START = pd.Timestamp("2026-03-02", tz="UTC")
WEEK = 7 * 24 * 3
"""Steps of twenty minutes."""


def made_up_signals() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rate and error ratio of services by day and by weekend, and what went wrong in the last two weeks."""
    random = np.random.default_rng(2)
    times = START + pd.to_timedelta(20 * np.arange(4 * WEEK), unit="min")
    shape = 1 + 0.5 * np.cos(2 * np.pi * (times.hour.to_numpy() - 15) / 24)
    shape *= np.where(times.dayofweek >= 5, 0.7, 1.0)
    wrong, tables = [], []
    for number in range(6):
        mean, failing = 500 * (1 + number % 3) * shape, np.full(len(times), 0.004)
        for week in (2, 3):
            if number in (1, 4):
                at = week * WEEK + int(random.integers(0, WEEK - 6))
                failing[at : at + 3] = 0.1 * number
                mean[at : at + 3] /= number
                wrong.append({"service": f"service-{number}", "from": times[at], "to": times[at + 2]})
        requests = random.negative_binomial(50, 50 / (50 + mean))
        ratio = random.binomial(requests, failing) / np.maximum(requests, 1)
        signals = {"time": times, "rate": requests / 1_200, "error_ratio": ratio}
        tables.append(pd.DataFrame(signals).assign(service=f"service-{number}"))
    return pd.concat(tables, ignore_index=True), pd.DataFrame(wrong)


table, wrong = (
    made_up_signals() if TABLE is None else (TABLE, pd.DataFrame(columns=["service", "from", "to"]))
)
panel = Panel.from_table(table, by=["service"], time="time")
past, recent = panel.rows(0, 3 * WEEK), panel.rows(3 * WEEK, len(panel))
labels = [
    Label(
        NAME,
        (row.service,),
        "real",
        from_ms=int(row["from"].timestamp() * 1e3),
        to_ms=int(row["to"].timestamp() * 1e3),
    )
    for _, row in wrong.iterrows()
]

# %% [markdown]
# ## Train
#
# Each model learns three weeks; its metrics are those of a twin that has not seen the last of them. The
# command trains in processes that are bounded in CPU, memory and time; here it is done on the spot.

# %%


class OnTheSpot:
    """Trains here and now."""

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[bytes]:
        done: Future[bytes] = Future()
        done.set_result(pack_state(work(*arguments)))
        return done


registry = Registry(REGISTRY, "shop")
trained = {
    note: train_model(
        registry,
        OnTheSpot(),
        past,
        name=NAME,
        detector="traffic",
        settings=settings,
        holdout=1 / 3,
        labels=labels,
        note=note,
    )
    for note, settings in {
        "loud": {"false_alarms_per_series_per_week": 1.5},
        "calm": {"false_alarms_per_series_per_week": 0.3},
        "deaf": {"false_alarms_per_series_per_week": 0.3, "direction": "down"},
    }.items()
}
listed = pd.DataFrame(
    [
        {"version": one.version, "note": one.note, "KB": one.size // 1_000, **one.metrics}
        for one in trained.values()
    ]
)
columns = ["version", "note", "KB", "alarms_per_series_per_week", "precision", "recall"]
print(listed[columns].to_string(index=False))
loud, calm, deaf = (one.version for one in trained.values())
print(pd.DataFrame(diff_manifests(trained["loud"], trained["calm"])).to_string(index=False))

# %% [markdown]
# ## A shadow alongside the champion
#
# The loud one is in charge, and the calm one judges the same week without alerting anybody.

# %%
registry.appoint(NAME, "champion", loud, by="notebook", reason="the first one")
registry.appoint(NAME, "shadow", calm, by="notebook")
both = compare_models(detector_of(registry, NAME, "champion"), detector_of(registry, NAME, "shadow"), recent)
report = both.comparison.report()
print(pd.DataFrame({role: report[role] for role in ("champion", "shadow")}).to_string())
print(report["alarm_steps"], f"correlation of scores {report['score_correlation']:.3f}")
only = pd.DataFrame(report["examples"], columns=["at_ms", "series", "who", "champion_tail", "shadow_tail"])
only["at"] = pd.to_datetime(only.pop("at_ms"), unit="ms", utc=True)
print(only.head().to_string(index=False))

# %% [markdown]
# ## The gate
#
# May it become champion? By its alarms, by what it leaves unjudged, and by labels, on a week that neither has
# seen.

# %%
trials = {
    note: try_promotion(registry, NAME, version, panel=recent, labels=labels)
    for note, version in {"calm": calm, "deaf": deaf}.items()
}
checks = pd.DataFrame(
    [
        {"candidate": note, "check": check.name, "passed": check.passed, "answer": check.text}
        for note, trial in trials.items()
        for check in trial.decision.checks
    ]
)
print(checks.to_string(index=False))

# %%
for note, trial in trials.items():
    if trial.decision.promote:
        announced = registry.appoint(
            NAME, "champion", trial.candidate, by="notebook", reason="passed the gate"
        )
        print(f"{note} is promoted: {announced.version}")
promoted = registry.pointer(NAME, "champion").version

# %% [markdown]
# ## Back again
#
# A rollback gives the role back to the version that had it before, in one call. Workers read of it on
# `<app>-models`, where the command publishes the announcement; a notebook only changes the registry.

# %%
registry.rollback(NAME, by="notebook", reason="to show that it works")
history = pd.DataFrame(
    [
        {**{field: getattr(one, field) for field in one.__struct_fields__}}
        for one in registry.pointer(NAME, "champion").history
    ]
)
print(history.drop(columns="at_ms").to_string(index=False))

# %% [markdown]
# ## The week as both have judged it
#
# Each dot is a step with an alarm; shaded is what was really wrong.

# %%
models = {note: detector_of(registry, NAME, version) for note, version in (("loud", loud), ("calm", calm))}
times = pd.to_datetime(recent.times, unit="ms", utc=True)
figure, ax = plt.subplots(figsize=(10, 3.8), layout="constrained")
for (note, model), colour, offset in zip(models.items(), ("#d55e00", "#0072b2"), (-0.15, 0.15), strict=True):
    step, series = np.nonzero(model.update(recent).alarm)
    ax.plot(times[step], series + offset, ".", color=colour, label=note)
for _, row in wrong.iterrows():
    if row["to"] >= times[0]:
        ax.plot(
            [row["from"], row["to"]],
            [recent.series.index((row["service"],))] * 2,
            color="0.8",
            lw=18,
            zorder=0,
        )
ax.set_yticks(range(len(recent.series)), [", ".join(name) for name in recent.series])
ax.xaxis.set_major_formatter(mdates.DateFormatter("%a %d"))
ax.legend(loc="upper right")
plt.show()
