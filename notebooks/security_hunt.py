# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # A security hunt in an access log
#
# From a log file to the clients that were flagged, why, and what exactly they asked for. Set `LOG` to a file
# of your own in the combined format; without it four hours of a small web site are made up, with somebody who
# looks for holes and somebody who tries passwords.

# %%
import re
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from streamgauge import (
    LocalFlow,
    Panel,
    Transition,
    compile_plan,
    load_config,
    make,
    read_records,
    verdict_table,
    write_access_log,
)

LOG: Path | None = None
FOLDER = Path(tempfile.mkdtemp())
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
SCANNER, GUESSER = "198.51.100.7", "192.0.2.99"
BEGUN = {SCANNER: START + timedelta(hours=2), GUESSER: START + timedelta(hours=3)}
STAMP = "%d/%b/%Y:%H:%M:%S %z"


def attack(client: str, every_s: float, requests: list[str], status: int) -> list[tuple[datetime, str]]:
    """Requests of one client at a steady pace from its beginning on, with their times."""
    times = [BEGUN[client] + timedelta(seconds=every_s * number) for number in range(len(requests))]
    return [
        (at, f'{client} - - [{at.strftime(STAMP)}] "{request} HTTP/1.1" {status} 512 "-" "curl/8" 0.010\n')
        for at, request in zip(times, requests, strict=True)
    ]


def made_up_log() -> Path:
    """Ordinary traffic, and two who are not, in the order of time."""
    path = FOLDER / "access.log"
    write_access_log(path, start=START, duration=timedelta(hours=4), rate=1, seed=3)
    ordinary = [
        (datetime.strptime(line.split("[")[1].split("]")[0], STAMP), line)
        for line in path.read_text().splitlines(keepends=True)
    ]
    names = (
        "admin",
        "backup",
        "old",
        "test",
        "config",
        "db",
        "phpmyadmin",
        ".env",
        ".git/config",
        "wp-login",
    )
    scan = attack(SCANNER, 0.7, [f"GET /{name}{number}.php" for number in range(40) for name in names], 404)
    guesses = attack(GUESSER, 2.0, ["POST /login"] * 150, 401)
    lines = sorted([*ordinary, *scan, *guesses], key=lambda pair: pair[0])
    path.write_text("".join(line for _, line in lines))
    return path


# %% [markdown]
# ## What the worker would have announced
#
# `LocalFlow` is the worker without Kafka. Three lines of configuration monitor every client and its network.

# %%
CONFIG = """
app: hunt
sources: {access: {topic: access, format: access_log}}
detectors: {security: [{source: access}]}
"""
log = LOG or made_up_log()
(FOLDER / "streamgauge.yaml").write_text(CONFIG)
moved: list[Transition] = []
flow = LocalFlow(compile_plan(load_config(FOLDER / "streamgauge.yaml")), on_anomaly=moved.append)
for _topic, partition, records in read_records(log):
    flow.feed("access", partition, records)
print(flow.finish().outcomes)

# %%
found = pd.DataFrame(
    [
        {
            "at": pd.Timestamp(change.alert.starts_at_ms, unit="ms", tz="UTC"),
            "client": change.alert.labels.get("client", ""),
            "network": change.alert.labels.get("client_network", ""),
            "kind": change.alert.labels["kind"],
            "severity": change.alert.labels["severity"],
            "reasons": "; ".join(change.alert.evidence.get("reasons", ())),
        }
        for change in moved
        if change.alert.state == "firing"
    ],
    columns=["at", "client", "network", "kind", "severity", "reasons"],
).sort_values("at")
print(found.drop(columns="reasons").to_string(index=False))

# %% [markdown]
# ## Why
#
# Reasons have the numbers that a rule compared. Whoever is flagged as a client is usually flagged as a
# network too; the client tells more.

# %%
suspects = found[found["client"] != ""].groupby("client", sort=False).first()
for client, row in suspects.iterrows():
    print(f"{client}, {row['severity']}, since {row['at']:%H:%M:%S}\n    {row['reasons']}")

# %% [markdown]
# ## Their requests
#
# What a person looks at next: the lines themselves.

# %%
LINE = re.compile(
    r'^(?P<client>\S+) \S+ \S+ \[(?P<time>[^]]+)\] "(?P<method>\S+) (?P<path>\S+)[^"]*" (?P<status>\d+)'
)
lines = pd.DataFrame([match.groupdict() for match in map(LINE.match, log.read_text().splitlines()) if match])
lines["time"] = pd.to_datetime(lines["time"], format=STAMP, utc=True)
lines["status"] = lines["status"].astype(int)
theirs = lines[lines["client"].isin(suspects.index)]
asked = theirs.groupby("client").agg(
    requests=("path", "size"),
    paths=("path", "nunique"),
    first=("time", "min"),
    last=("time", "max"),
    answers=("status", lambda status: dict(status.value_counts())),
    examples=("path", lambda path: ", ".join(path.unique()[:4])),
)
print(asked.to_string())

# %% [markdown]
# ## The same detector on a table of your own
#
# Any table of counts by entity and minute will do: here from the lines above. `requests` is required, the
# other columns are taken as far as they are there. The first hour is learnt from, then each minute is judged
# before it is learnt from.

# %%
counts = (
    lines.assign(
        requests=1,
        **{f"{code}": lines["status"] == code for code in (401, 404)},
        **{"4xx": lines["status"].between(400, 499)},
        failed_logins=(lines["status"] == 401) & (lines["method"] == "POST"),
    )
    .groupby(["client", pd.Grouper(key="time", freq="1min", label="right")])
    .agg(dict.fromkeys(("requests", "401", "404", "4xx", "failed_logins"), "sum") | {"path": "nunique"})
    .rename(columns={"path": "distinct path"})
    .reset_index()
)
panel = Panel.from_table(counts, by=["client"], time="time")
detector = make("security")
detector.fit(panel.rows(0, 60))
judged = panel.rows(60, len(panel))
verdicts = verdict_table(judged, detector.update(judged), by=["client"])
flagged = verdicts[verdicts["alarm"]]
print(flagged.groupby(["client", "kind"])["time"].agg(["min", "size"]).to_string())

# %% [markdown]
# ## Requests a minute
#
# Grey: the 99th percentile and the median of all other clients.

# %%
by_minute = lines.groupby(["client", pd.Grouper(key="time", freq="1min")]).size().unstack(0, fill_value=0)
others = by_minute.drop(columns=suspects.index)
figure, ax = plt.subplots(figsize=(10, 4), layout="constrained")
ax.fill_between(others.index, others.quantile(0.5, axis=1), others.quantile(0.99, axis=1), color="0.8")
for client, colour in zip(suspects.index, ("#d55e00", "#0072b2", "#009e73", "#cc79a7"), strict=False):
    seen = by_minute[client].replace(0, np.nan)
    ax.plot(seen.index, seen, color=colour, label=f"{client}: {suspects.loc[client, 'kind']}")
    ax.axvline(suspects.loc[client, "at"], color=colour, linestyle=":")
ax.set_ylabel("requests a minute")
ax.set_xlabel("time (UTC), dotted: when it was flagged")
ax.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M", tz=UTC))
ax.legend()
plt.show()
