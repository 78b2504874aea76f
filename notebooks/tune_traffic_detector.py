# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Tuning the traffic detector against labels
#
# How many alarms does a setting cost, what does it find, and what do labels of noise and of real incidents
# change? Set `TABLE` to signals of your own, a row for each step and service, and `labels` to what people
# said of them (`streamgauge label`, or the topic `<app>-labels`); without them four weeks of twelve services
# are made up.

# %%
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from msgspec import structs

from streamgauge import (
    Label,
    Panel,
    Verdicts,
    episode_starts,
    factors_of,
    intervals_of,
    judge_backtest,
    make,
    precision_by_detector,
    recalibrated,
    restored,
    tail_of_rate,
    verdict_figure,
    verdict_table,
)

TABLE: pd.DataFrame | None = None
BY = ["service"]
START = pd.Timestamp("2026-03-02", tz="UTC")
WEEK = 7 * 24 * 6
"""Steps of ten minutes."""

SERVICES = [f"service-{number}" for number in range(10)] + ["reports", "checkout"]


def made_up_signals() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rate and error ratio of services with days and weekends, and what really went wrong.

    Of `reports` batches make the rate jump a few times a week, which is nobody's problem.
    """
    random = np.random.default_rng(11)
    times = START + pd.to_timedelta(10 * np.arange(4 * WEEK), unit="min")
    hour, weekend = times.hour + times.minute / 60, times.dayofweek >= 5
    shape = (1 + 0.5 * np.cos(2 * np.pi * (hour - 15) / 24)) * np.where(weekend, 0.7, 1.0)
    wrong, tables = [], []
    for number, service in enumerate(SERVICES):
        mean = 200 * (1 + number % 4) * shape.to_numpy()
        failing = np.full(len(times), 0.004)
        if service == "reports":
            for at in random.choice(len(times) - 10, 16, replace=False):
                mean[at : at + 2] *= random.uniform(2.5, 3.5)
        if number % 3 == 0 or service in ("checkout", "reports"):
            for week in (2, 3):
                at = week * WEEK + int(random.integers(0, WEEK - 6))
                silent = service == "reports"
                (mean if silent else failing)[at : at + 4] = 3.0 if silent else 0.08
                wrong.append({"service": service, "from": times[at], "to": times[at + 3]})
        requests = random.negative_binomial(50, 50 / (50 + mean))
        errors = random.binomial(requests, failing)
        tables.append(
            pd.DataFrame(
                {
                    "time": times,
                    "service": service,
                    "rate": requests / 600,
                    "error_ratio": errors / np.maximum(requests, 1),
                }
            )
        )
    return pd.concat(tables, ignore_index=True), pd.DataFrame(wrong)


table, wrong = (
    made_up_signals() if TABLE is None else (TABLE, pd.DataFrame(columns=["service", "from", "to"]))
)
panel = Panel.from_table(table, by=BY, time="time")
past, judged = panel.rows(0, 2 * WEEK), panel.rows(2 * WEEK, len(panel))
step_ms = int(panel.times[1] - panel.times[0])
print(f"{len(panel):,} steps, {len(panel.series)} services, features {', '.join(panel.features)}")

# %% [markdown]
# ## What really happened, as labels
#
# A label says of a time of one series that it was real, noise or expected.

# %%


def said(verdict: str, service: str, first: pd.Timestamp, last: pd.Timestamp, kind: str = "") -> Label:
    """A label of a service."""
    from_ms, to_ms = (int(at.timestamp() * 1_000) for at in (first, last))
    return Label("traffic", (service,), verdict, kind, from_ms, to_ms, at_ms=to_ms, by="notebook")


labels = [said("real", row["service"], row["from"], row["to"]) for _, row in wrong.iterrows()]
print(wrong.to_string(index=False))

# %% [markdown]
# ## Alarms against settings
#
# `false_alarms_per_series_per_week` is the one that matters; `min_effect` is the smallest deviation
# that matters, as a share of what was expected. The first two weeks are learnt from once, and all settings
# start from there; the last two are judged step by step, as the stream would.

# %%
learnt = make("traffic").fit(past).state()
intervals = intervals_of(labels, judged, names=["traffic"])
judgements, rows = [], []
for settings in (
    *({"false_alarms_per_series_per_week": rate} for rate in (0.1, 0.5, 2.0)),
    {"false_alarms_per_series_per_week": 0.5, "min_effect": 3.0},
):
    judgements.append(restored("traffic", settings, learnt).update(judged))
    outcome = judge_backtest(judged.times, judgements[-1].tail, judgements[-1].alarm, intervals)
    rows.append(
        {
            "asked": settings["false_alarms_per_series_per_week"],
            "min_effect": settings.get("min_effect", 0.1),
            "false alarms a series and week": outcome.alarms_per_series_per_week,
            "real found": outcome.real_found,
            "of": outcome.real_labels,
        }
    )
costs = pd.DataFrame(rows)
print(costs.to_string(index=False))

# %% [markdown]
# ## What is flagged at half an alarm a series and week
#
# An episode is what somebody would have been told once.

# %%


def episodes(verdicts: Verdicts) -> pd.DataFrame:
    """A row for each episode of alarms, and whether it touches a real incident."""
    begun = episode_starts(judged.times, verdicts.alarm, keep_ms=3 * step_ms)
    table = verdict_table(judged, verdicts, by=BY)
    found = table[begun.ravel()][["time", "service", "kind", "severity", "score", "direction"]]
    touches = [
        any(
            one.series == (row.service,)
            and one.from_ms <= row.time.timestamp() * 1_000 <= one.to_ms + step_ms
            for one in labels
            if one.verdict == "real"
        )
        for row in found.itertuples()
    ]
    return found.assign(real=touches)


RATE = 0.5
verdicts = judgements[1]
before = episodes(verdicts)
print(before.to_string(index=False))

# %% [markdown]
# ## Somebody says that batches are noise
#
# A label of noise makes alarms of that series and kind ask for more: three times with each label, a hundred
# times at most, less as the label ages. Every other series and kind stays as it was, and a label that is
# taken back changes nothing any more. Here the batches of the third week are labelled; the fourth shows what
# it is good for.

# %%
cut = pd.Timestamp(int(judged.times[WEEK]), unit="ms", tz="UTC")
noisy = before[(before["service"] == "reports") & ~before["real"] & (before["time"] < cut)]
complaints = [said("noise", row.service, row.time, row.time, row.kind) for row in noisy.itertuples()]
now_ms = int(judged.times[-1])
factors = factors_of([*labels, *complaints], "traffic", now_ms=now_ms)
taken_back = [structs.replace(one, removed=True, at_ms=now_ms) for one in complaints]
print("taken back:", dict(factors_of([*labels, *complaints, *taken_back], "traffic", now_ms=now_ms)))
print(
    "times stricter:",
    {f"{name[0]}, {kind or 'any kind'}": round(by, 1) for (name, kind), by in factors.items()},
)
print(precision_by_detector([*labels, *complaints])["traffic"])
threshold = tail_of_rate(RATE, step_ms)
calmer = recalibrated(verdicts, judged.series, factors, threshold=threshold)
after = episodes(calmer)


def fourth_week(found: pd.DataFrame) -> pd.DataFrame:
    return found[found["time"] >= cut].groupby([found["service"] == "reports", "real"]).size()


compared = pd.DataFrame({"before": fourth_week(before), "after": fourth_week(after)}).fillna(0).astype(int)
print(compared.rename_axis(["reports", "real"]).to_string())

# %% [markdown]
# ## Cost and use of the setting, and `reports` as it was judged

# %%
figure, ax = plt.subplots(figsize=(5.5, 4), layout="constrained")
rates = costs.iloc[:3]
ax.plot(rates["asked"], rates["asked"], color="0.5", linestyle="--", label="as asked")
ax.plot(rates["asked"], rates["false alarms a series and week"], "o-", color="#d55e00", label="measured")
ax.set_xscale("log")
ax.set_yscale("symlog", linthresh=0.02)
ax.set_xlabel("false_alarms_per_series_per_week")
ax.set_ylabel("false alarms a series and week")
ax.legend(loc="upper left")
share = ax.twinx()
share.plot(rates["asked"], rates["real found"] / rates["of"].clip(lower=1), "s:", color="#0072b2")
share.set_ylim(0, 1.05)
share.set_ylabel("share of real incidents found (squares)")
plt.show()

# %%
shown = verdict_figure(judged, calmer, series=judged.series.index(("reports",)) if TABLE is None else 0)
shown.axes[-1].xaxis.set_major_formatter(mdates.DateFormatter("%a %d"))
shown  # noqa: B018  # a cell's last value is shown
