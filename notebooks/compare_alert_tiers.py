# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which alert thresholds suit a log?
#
# This notebook runs a log file through the steps of a worker (decode, aggregate, window, judge) without
# Kafka, and shows what a worker would have published: SLIs, burn rates, the error budget, and which alert
# fired when and why. Then it runs the same log under other alert thresholds, so that you can see what they
# would have cost and caught **before** anybody is paged by them.
#
# To look into a log of your own, set the environment variables `NOTEBOOK_LOG` and `NOTEBOOK_CONFIG`, or
# change the cell below. The log may be text (a record a line) or a capture of a topic, plain or compressed.

# %%
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import yaml
from IPython.display import display
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from streamgauge import (
    LocalFlow,
    LogIncident,
    TierEntry,
    choose_sources,
    compile_plan,
    episode_table,
    evidence_table,
    is_capture,
    load_config,
    read_records,
    sli_table,
    span_name,
    write_access_log,
)

# %% tags=["parameters"]
log = os.environ.get("NOTEBOOK_LOG")  # None: a day of a small website is made up, with two incidents
config_file = os.environ.get("NOTEBOOK_CONFIG", "examples/access-log.yaml")  # from the repository's top
slo_name = None  # whose alerts are compared at the end; None: the first SLO's

# %%
ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "examples").is_dir())
config = load_config(ROOT / config_file)

# %% [markdown]
# ## The log
#
# In the made-up log a tenth of the requests fails for a quarter of an hour in the afternoon. In the early
# morning there was something harder to see: for two hours, 9 requests in 1,000 failed.

# %%
incidents = []
if log is None:
    day = datetime(2026, 5, 16, tzinfo=UTC)
    incidents = [
        LogIncident("leak", day + timedelta(hours=6), timedelta(hours=2), failing=0.009),
        LogIncident("outage", day + timedelta(hours=16), timedelta(minutes=15), failing=0.1, slowed=4),
    ]
    folder = tempfile.TemporaryDirectory(prefix="compare-alert-tiers-")
    log = Path(folder.name) / "access.log"
    write_access_log(log, start=day, duration=timedelta(days=1), rate=1, incidents=incidents, seed=1)
log = Path(log)
_, _, first = next(read_records(log, chunk=1))
print(first.values[0])

# %% [markdown]
# ## The flow
#
# `LocalFlow` is the worker without the transport: it takes records and calls back with an SLI report per
# SLO and minute of event time, and with every change of an alert.


# %%
def run(config):
    """The plan, the SLIs, the alerts' transitions and the totals of the log under a configuration."""
    plan, reports, transitions = compile_plan(config), [], []
    flow = LocalFlow(
        plan,
        partitions=None if is_capture(log) else 1,  # a capture's partitions are known at its end
        on_slis=reports.append,
        on_alert=transitions.append,
        evidence={"config": config.digest()},
    )
    for topic, partition, records in read_records(log):
        for source in choose_sources(config, topic, str(log)):
            flow.feed(source, partition, records)
    summary = flow.finish()
    return plan, sli_table(reports), transitions, summary


plan, slis, transitions, summary = run(config)
display(pd.DataFrame(summary.outcomes).T.rename_axis("source"))

# %% [markdown]
# Every event is counted: in its window (`in`), too late for it (`late`), or unreadable (`dead`).
#
# `slis` has a row for each minute, SLO, group and window, with the columns of the `slis.parquet` that
# `streamgauge replay` writes. This is where every SLO stood at the end:

# %%
final = slis[slis["time"] == slis["time"].max()]
identity = ["slo", "objective", "labels"]
standing = final.pivot_table(index=identity, columns="window", values="ratio", sort=False)
standing["budget left"] = final.groupby(identity)["budget_remaining_ratio"].first()
display(standing.mul(100).round(2).rename_axis(columns="good in %, by window"))

# %% [markdown]
# ## SLI, burn rate, budget, alerts
#
# A burn rate of 1 spends the budget exactly within the SLO's window; the dashed lines are the factors of the
# alerts' tiers. A tier fires when **both** its windows are above its factor. The budget is a share of the
# events in the SLO's window, and the log is all there is of it: early on a few errors weigh a lot, and what
# was overspent is made good as more good events come.

# %%
# Okabe and Ito's colours, which people with any kind of colour vision can tell apart.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#999999"
WINDOW_COLOURS = {"5m": ORANGE, "1h": BLUE, "6h": GREEN}
SEVERITY_COLOURS = {"page": RED, "ticket": BLUE}
plt.rcParams.update({"figure.dpi": 110, "axes.grid": True, "grid.alpha": 0.3, "axes.axisbelow": True})


def finish(axes):
    """What all figures have: shaded incidents, and one readable time axis at the bottom."""
    for index, axis in enumerate(axes):
        for incident in incidents:
            axis.axvspan(incident.start, incident.end, color=GREY, alpha=0.3, linewidth=0, zorder=0)
            if index == 0:
                middle = incident.start + incident.duration / 2
                axis.annotate(incident.name, (middle, 1.02), xycoords=("data", "axes fraction"), ha="center")
    locator = AutoDateLocator(tz=UTC)
    axes[-1].xaxis.set_major_locator(locator)
    axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    axes[-1].set_xlabel("event time (UTC)")


def draw_alerts(axis, rows):
    """A bar for each time that an alert fired; rows: (name, episodes) from top to bottom."""
    for position, (_, episodes) in enumerate(rows):
        ends = episodes["resolved_at"].fillna(slis["time"].max())
        for start, end, severity in zip(episodes["fired_at"], ends, episodes["severity"], strict=True):
            colour = SEVERITY_COLOURS.get(severity, GREEN)
            axis.barh(position, end - start, left=start, height=0.6, color=colour)
    axis.set_yticks(range(len(rows)), [name for name, _ in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_ylabel("alerts firing")


def draw_windows(axis, times, values):
    """A line for each window; times, values: Series that are indexed by window."""
    for window, colour in WINDOW_COLOURS.items():
        if window in times.index:
            axis.plot(times[window], values[window], color=colour, label=window, linewidth=1.2)


def draw_burn(axis, mine, tiers):
    """Burn rates by window, and the tiers' factors."""
    by_window = mine.set_index("window")
    draw_windows(axis, by_window["time"], by_window["burn_rate"])
    for factor in sorted({tier.factor for tier in tiers}):
        axis.axhline(factor, color="black", linestyle="--", linewidth=0.8)
        axis.annotate(f"{factor:g}", (1.005, factor), xycoords=("axes fraction", "data"), va="center")
    # Linear below 1, so that a rate of 0 has a place on the axis.
    axis.set_yscale("symlog", linthresh=1)
    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_ylabel("burn rate\n(× allowed)")


def full_name(slo):
    return f"{slo.name}/{slo.objective}" if slo.objective else slo.name


def of_slo(slo, table):
    """The rows of one SLO."""
    return table[(table["slo"] == slo.name) & (table["objective"] == slo.objective)]


def busiest_group(slo):
    """The SLIs of an SLO; of its group with the most events, where it has several."""
    mine = of_slo(slo, slis)
    return mine[mine["labels"] == mine.groupby("labels")["total"].max().idxmax()]


def alert_rows(slo, episodes, name="{}"):
    """(name, episodes) for each severity of an SLO's tiers."""
    mine = of_slo(slo, episodes)
    severities = dict.fromkeys(tier.severity for tier in slo.tiers)
    return [(name.format(severity), mine[mine["severity"] == severity]) for severity in severities]


def draw_slo(slo):
    """SLI, burn rate, budget and alerts of one SLO."""
    mine = busiest_group(slo)
    figure, axes = plt.subplots(
        4, sharex=True, figsize=(10, 8.5), height_ratios=(3, 3, 2, 1), layout="constrained"
    )
    by_window = mine.set_index("window")
    draw_windows(axes[0], by_window["time"], 100 * by_window["ratio"])
    axes[0].axhline(100 * slo.target, color="black", linestyle="--", linewidth=0.8, label="target")
    axes[0].set_ylabel("SLI (% good)")
    axes[0].legend(title="window", loc="lower left", ncols=2)
    draw_burn(axes[1], mine, slo.tiers)
    budget = mine.drop_duplicates("time")
    axes[2].plot(budget["time"], 100 * budget["budget_remaining_ratio"], color=BLUE)
    axes[2].axhline(0, color="black", linewidth=0.8)
    axes[2].set_ylabel("budget left (%)")
    draw_alerts(axes[3], alert_rows(slo, episodes))
    of_group = f" for {mine['labels'].iloc[0]}, alerts of all groups" if slo.group_by else ""
    figure.suptitle(
        f"{slo.service}: {full_name(slo)}, {100 * slo.target:g} % in {span_name(slo.window_ms)}{of_group}"
    )
    finish(axes)
    return figure


episodes = episode_table(transitions)
figures = {full_name(slo): draw_slo(slo) for slo in plan.slos if len(of_slo(slo, slis))}
plt.show()

# %% [markdown]
# ## Which alerts fired, and why
#
# Each alert carries its evidence: the counts of its windows, what its tiers demand, the offsets that had been
# read by then, and the hash of the configuration. `error_ratio_at_least` is the lower confidence bound of the
# long window's error ratio; it has to be above `error_ratio_needed`, so that chance pages no one.

# %%
display(episodes[["slo", "objective", "severity", "fired_at", "resolved_at", "summary"]])

# %%
evidence = {}
for one in (one for one in transitions if one.alert.state == "firing"):
    alert, at = one.alert, f"{pd.Timestamp(one.at_ms, unit='ms'):%d %b %H:%M:%S}"
    print(f"{at}  {alert.labels['slo']} ({alert.labels['severity']})")
    print(f"    {alert.annotations['description']}")
    print(f"    offsets by partition: {alert.evidence['offsets']}, configuration {alert.evidence['config']}")
    evidence[at, alert.labels["slo"], alert.labels["severity"]] = evidence_table(one).set_index("tier")
if evidence:
    display(pd.concat(evidence, names=["fired at", "slo", "severity"]).round(5))

# %% [markdown]
# ## Would other thresholds have been better?
#
# The configuration's tiers (without any of its own: the SRE Workbook's) against stricter ones, on the same
# log. A `factor` is a burn rate; with `budget` instead it follows from the SLO's window. SLOs with alert
# policies of their own keep those.

# %%
STRICTER = """
- {severity: page, long: 1h, short: 5m, factor: 6}
- {severity: page, long: 6h, short: 30m, factor: 3}
- {severity: ticket, long: 1d, short: 2h, factor: 1}
"""

tiers = tuple(TierEntry.model_validate(entry) for entry in yaml.safe_load(STRICTER))
stricter = config.model_copy(update={"alerting": config.alerting.model_copy(update={"tiers": tiers})})
stricter_plan, _, stricter_transitions, _ = run(stricter)
configured = "SRE Workbook" if config.alerting.tiers is None else "configured"
settings = {configured: (plan, episodes), "stricter": (stricter_plan, episode_table(stricter_transitions))}

# %%
rows, shown = [], []
for setting, (its_plan, its_episodes) in settings.items():
    slo = next(one for one in its_plan.slos if slo_name in (None, one.name))
    rows += alert_rows(slo, its_episodes, f"{setting}: {{}}")
    for tier in slo.tiers:
        windows = f"{span_name(tier.long_ms)}/{span_name(tier.short_ms)}"
        shown.append(
            {"setting": setting, "severity": tier.severity, "windows": windows, "factor": tier.factor}
        )
display(pd.DataFrame(shown).pivot_table(index="windows", columns=["setting", "severity"], values="factor"))

comparison_figure, axes = plt.subplots(
    2, sharex=True, figsize=(10, 5.5), height_ratios=(3, 2), layout="constrained"
)
draw_burn(axes[0], busiest_group(slo), [])
axes[0].legend(title="window", loc="upper left")
draw_alerts(axes[1], rows)
comparison_figure.suptitle(f"{slo.service}: {full_name(slo)}, the same burn judged by two settings")
finish(axes)
plt.show()

# %% [markdown]
# What each alert was worth: which incident had begun last when it fired, how long before, how long the alert
# went on, and how much of the budget was left when it fired.

# %%
MINUTE = timedelta(minutes=1)
budget = busiest_group(slo).drop_duplicates("time").set_index("time")["budget_remaining_ratio"]
compared = []
for name, its_episodes in rows:
    for episode in its_episodes.itertuples():
        # the latest incident that had begun; a log of your own has none that this notebook knows of
        cause = next((one for one in reversed(incidents) if one.start <= episode.fired_at), None)
        end = slis["time"].max() if pd.isna(episode.resolved_at) else episode.resolved_at
        compared.append(
            {
                "alert": name,
                "incident": cause.name if cause else None,
                "fired at": episode.fired_at.round("s"),
                "minutes after its start": (episode.fired_at - cause.start) / MINUTE if cause else None,
                "minutes firing": (end - episode.fired_at) / MINUTE,
                "budget left (%)": 100 * budget.asof(episode.fired_at),
            }
        )
comparison = pd.DataFrame(compared)
display(comparison.round({"minutes after its start": 1, "minutes firing": 1, "budget left (%)": 1}))
