# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Where SLIs come from: a replay, Kafka, Prometheus
#
# The same SLIs as a DataFrame, from whichever place you have them in, and from there into a detector. Without
# settings only the first is read, of two hours that are made up; `SLIS_CONFIG` (a configuration with the
# broker of a running worker) and `SLIS_PROMETHEUS` (an address) in the environment add the others.

# %%
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import pandas as pd

from streamgauge import (
    LogIncident,
    Panel,
    detect,
    load_config,
    make,
    query_range,
    replay_files,
    slis_from_kafka,
    slis_from_replay,
    write_access_log,
)

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "examples").is_dir())
EXAMPLE = ROOT / "examples" / "access-log.yaml"
FOLDER = Path(tempfile.mkdtemp())
START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
INCIDENT = LogIncident("outage", START + timedelta(minutes=80), timedelta(minutes=10), failing=0.1)
WINDOW = "5m"

# %% [markdown]
# ## From a replay
#
# `streamgauge replay LOG -c CONFIG --output FOLDER` does the same.

# %%
write_access_log(
    FOLDER / "access.log", start=START, duration=timedelta(hours=2), rate=2, incidents=[INCIDENT], seed=1
)
replay_files([FOLDER / "access.log"], load_config(EXAMPLE), FOLDER)
slis = slis_from_replay(FOLDER)
print(slis.tail(3).to_string())
sources = {"replay": slis}

# %% [markdown]
# ## From Kafka
#
# The topic `<app>-slis`. No consumer group, no commit: the workers notice nothing.

# %%
if "SLIS_CONFIG" in os.environ:
    sources["Kafka"] = slis_from_kafka(load_config(Path(os.environ["SLIS_CONFIG"])))

# %% [markdown]
# ## From Prometheus
#
# Any query will do. Here it is given the columns of the others.

# %%
if "SLIS_PROMETHEUS" in os.environ:
    found = query_range(
        os.environ["SLIS_PROMETHEUS"],
        "streamgauge_sli_ratio",
        start=slis["time"].min(),
        end=slis["time"].max(),
        step=pd.Timedelta(minutes=1),
    )
    sources["Prometheus"] = found.rename(columns={"value": "ratio"})

# %%
figure, axes = plt.subplots(len(sources), 1, figsize=(10, 2.4 * len(sources)), sharex=True, squeeze=False)
for ax, (name, table) in zip(axes[:, 0], sources.items(), strict=True):
    for slo, rows in table[table["window"] == WINDOW].groupby("slo"):
        ax.plot(rows["time"], 100 * rows["ratio"], label=slo)
    ax.set_ylabel(f"{name}: good (%)")
    ax.axvspan(INCIDENT.start, INCIDENT.end, color="0.85", zorder=0)
axes[0, 0].legend(loc="lower left")
axes[-1, 0].xaxis.set_major_formatter(mdates.DateFormatter("%H:%M", tz=UTC))
axes[-1, 0].set_xlabel("time (UTC), the incident shaded")
plt.show()

# %% [markdown]
# ## Into a detector
#
# A long table becomes a panel: what names a series, and the numbers to judge. The first half is learnt from.

# %%
first = {}
for name, table in sources.items():
    chosen = table.loc[table["window"] == WINDOW, ["time", "slo", "ratio"]].drop_duplicates(["time", "slo"])
    panel = Panel.from_table(chosen, by=["slo"], time="time")
    judged, verdicts = detect(panel, make("traffic", min_effect=0.02), learn=0.5)
    alarms = judged.times[verdicts.alarm.any(axis=1)]
    first[name] = pd.Timestamp(alarms[0], unit="ms", tz="UTC") if len(alarms) else None
    print(f"{name}: {len(panel)} steps, {len(panel.series)} series, flagged first at {first[name]}")
