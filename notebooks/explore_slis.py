# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # SLIs, burn rates and an alert, from a log file
#
# The very code of a worker, without Kafka: records go into `LocalFlow`, SLI reports and alerts come out.
# Set `LOG` and `CONFIG` to your own files; without them a day of a small web site is made up, with an
# incident from 12:00 to 12:30.

# %%
import gzip
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import pandas as pd

from streamgauge import (
    LocalFlow,
    SliReport,
    Transition,
    burn_rate,
    compile_plan,
    error_budget_remaining,
    good_ratio,
    load_config,
    read_records,
)

LOG: Path | None = None
ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "examples").is_dir())
CONFIG = ROOT / "examples" / "access-log.yaml"
SLO = "availability"
INCIDENT = (datetime(2026, 3, 2, 12, 0, tzinfo=UTC), datetime(2026, 3, 2, 12, 30, tzinfo=UTC))


def made_up_log() -> Path:
    """A day of requests, two a second, of which a tenth fails during the incident."""
    rng, path = random.Random(7), Path(tempfile.mkdtemp()) / "access.log.gz"
    start = INCIDENT[0].replace(hour=6)
    with gzip.open(path, "wt") as out:
        for second in range(12 * 3600):
            at = start + timedelta(seconds=second)
            failing = 0.1 if INCIDENT[0] <= at < INCIDENT[1] else 0.0003
            for _ in range(2):
                status = 503 if rng.random() < failing else 200
                stamp = at.strftime("%d/%b/%Y:%H:%M:%S +0000")
                out.write(f'192.0.2.{rng.randrange(250)} - - [{stamp}] "GET /p/{rng.randrange(9)} HTTP/1.1" ')
                out.write(f'{status} {rng.randrange(900)} "-" "curl/8" {rng.lognormvariate(-2, 0.7):.3f}\n')
    return path


# %% [markdown]
# ## Run the flow

# %%
reports: list[SliReport] = []
moved: list[Transition] = []
plan = compile_plan(load_config(CONFIG))
source = next(iter(plan.sources))
flow = LocalFlow(plan, on_slis=reports.append, on_alert=moved.append)
for _topic, partition, records in read_records(LOG or made_up_log()):
    flow.feed(source, partition, records)
summary = flow.finish()
print(summary.outcomes[source])

# %%
rows = []
for report in reports:
    if report.slo.name != SLO:
        continue
    index = {window: row for row, window in enumerate(report.windows_ms)}
    ratio = good_ratio(report.good, report.total)
    burn = burn_rate(report.good, report.total, report.slo.target)
    left = error_budget_remaining(report.budget_good, report.budget_total, report.slo.target)
    rows.append(
        {
            "time": pd.Timestamp(report.at_ms, unit="ms", tz="UTC"),
            "SLI 5 m": ratio[index[300_000], 0],
            "burn 5 m": burn[index[300_000], 0],
            "burn 1 h": burn[index[3_600_000], 0],
            "budget left": left[0],
        }
    )
slis = pd.DataFrame(rows).set_index("time")
slis.describe()

# %% [markdown]
# ## Which alert fired, and why

# %%
alerts = pd.DataFrame(
    [
        {
            "at": pd.Timestamp(change.at_ms, unit="ms", tz="UTC"),
            "state": change.alert.state,
            "severity": change.alert.labels["severity"],
            "why": change.alert.annotations.get("description", ""),
        }
        for change in moved
        if change.alert.labels["slo"] == SLO
    ]
)
print(alerts.to_string())

# %% [markdown]
# ## The day in three pictures

# %%
figure, axes = plt.subplots(3, 1, figsize=(10, 8), sharex=True, layout="constrained")
axes[0].plot(slis.index, 100 * slis["SLI 5 m"], color="#0072b2")
axes[0].set_ylabel("good requests,\n5 minutes (%)")
for name, colour in (("burn 5 m", "#d55e00"), ("burn 1 h", "#009e73")):
    axes[1].plot(slis.index, slis[name], label=name, color=colour)
axes[1].axhline(14.4, color="0.4", linestyle=":", label="page at 14.4")
axes[1].set_ylabel("burn rate")
axes[1].legend()
axes[2].plot(slis.index, 100 * slis["budget left"], color="#0072b2")
axes[2].set_ylabel("error budget left (%)")
axes[2].set_xlabel("time (UTC)")
for ax in axes:
    if LOG is None:
        ax.axvspan(*INCIDENT, color="0.85", zorder=0)
    for at in alerts.loc[alerts["state"] == "firing", "at"]:
        ax.axvline(at, color="#cc79a7", linewidth=1)
axes[2].xaxis.set_major_formatter(mdates.DateFormatter("%H:%M", tz=UTC))
figure.suptitle("Availability: incident shaded, alerts as lines")
plt.show()
