# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Log templates: from lines to a review to anomalies
#
# Lines become templates, a person reviews the templates in a table, and a detector watches their counts. Set
# `LINES` to a table of your own with columns `time`, `service` and `message`; without it two days of a shop
# are made up, with a new error at one time, a surge at another, and a backup that stays away in the end.

# %%
import io

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from streamgauge import (
    LogMasks,
    Panel,
    TemplateCatalog,
    make,
    read_reviews,
    verdict_table,
)

LINES: pd.DataFrame | None = None
START = pd.Timestamp("2026-03-02", tz="UTC")
NEW_AT, SURGE_AT, GONE_AT = (START + pd.Timedelta(hours=hours) for hours in (32, 38, 42))


def made_up_lines() -> pd.DataFrame:
    """Two days of a shop's log: columns time, service, message."""
    random = np.random.default_rng(5)
    parts = []

    def say(start: pd.Timestamp, hours: float, per_hour: float, text: str) -> None:
        """Lines at random times, their fields made up for each."""
        number = random.poisson(per_hour * hours)
        times = start + pd.to_timedelta(np.sort(random.uniform(0, 3600 * hours, number)), unit="s")
        fields = zip(
            random.integers(1_000, 9_999, number),
            random.integers(1, 255, number),
            random.choice(["ann", "bob", "cleo", "dan", "eve", "fay", "gus", "hal", "ida"], number),
            strict=True,
        )
        messages = [text.format(id=id, ip=f"10.0.0.{host}", user=user) for id, host, user in fields]
        parts.append(pd.DataFrame({"time": times, "service": "shop", "message": messages}))

    say(START, 48, 240, "order {id} paid by {user} in 12.5 ms")
    say(START, 48, 180, "user {user} logged in from {ip}")
    say(START, 48, 60, "cache miss for product {id}")
    say(START, 42, 60, "backup of table t{id} done")
    say(START, 48, 120, "GET /health 200")
    say(NEW_AT, 0.5, 60, "ERROR payment of order {id} refused: card network unreachable")
    say(SURGE_AT, 0.25, 2_400, "cache miss for product {id}")
    return pd.concat(parts).sort_values("time", ignore_index=True)


lines = made_up_lines() if LINES is None else LINES
print(lines.sample(5, random_state=1).to_string(index=False))

# %% [markdown]
# ## Lines to templates
#
# Numbers, addresses and the like are masked, which gives each line its *signature*; signatures that differ
# only in a parameter are one *template*. A template's id is the same on every machine and after any restart.

# %%
lines["signature"] = LogMasks().signatures(lines["message"].tolist())
by_signature = lines.groupby("signature", sort=False)
first_lines = by_signature["message"].first()
catalog = TemplateCatalog()
catalog.observe(
    lines["signature"].tolist(),
    np.ones(len(lines), np.int64),
    lines["time"].dt.as_unit("ms").astype(np.int64).to_numpy(),
    first_lines.to_dict(),
)
templates = pd.DataFrame(catalog.templates()).set_index("id")
print(f"{len(lines):,} lines, {len(first_lines)} signatures, {len(templates)} templates")
print(templates[["count", "text", "example"]].to_string())

# %% [markdown]
# ## The review
#
# `catalog.to_csv()` is a table to edit: give names, and say what is not to be judged. Here a program does
# what a person would do in a spreadsheet.

# %%
review = pd.read_csv(io.StringIO(catalog.to_csv()), dtype=str).fillna("")
review.loc[review["example"].str.startswith("GET /health"), ["name", "ignored"]] = ["health check", "true"]
review.loc[review["text"].str.startswith("order"), "name"] = "order paid"
reviews = read_reviews(review.to_csv(index=False))
catalog.decide(reviews)
templates = pd.DataFrame(catalog.templates()).set_index("id")
print(templates.loc[templates["name"] != "", ["name", "ignored", "text"]].to_string())

# %% [markdown]
# ## Counts to anomalies
#
# The detector takes a panel of counts by service and signature, and groups signatures by itself. The worker
# judges each minute; here it is five minutes. The first day is learnt from; a day is also what it waits
# before it calls anything new. The review holds for templates that are yet to come as
# well.

# %%
counts = (
    lines.groupby(["service", "signature", pd.Grouper(key="time", freq="5min", label="right")])
    .size()
    .rename("count")
    .reset_index()
)
panel = Panel.from_table(counts, by=["service", "signature"], time="time")
day = int(np.searchsorted(panel.times, (START + pd.Timedelta(days=1)).value // 1_000_000, side="right"))
detector = make("logs")
detector.fit(panel.rows(0, day))
detector.decide(reviews)
judged = panel.rows(day, len(panel))
verdicts = verdict_table(judged, detector.update(judged), by=["service", "signature"])
flagged = verdicts[verdicts["alarm"]].assign(
    template=lambda table: table["signature"].map(detector.catalog.id_of)
)
anomalies = flagged.groupby(["template", "kind"])["time"].agg(begun="min", ended="max").sort_values("begun")
print(anomalies.join(templates["text"], on="template").to_string())

# %% [markdown]
# ## The second day
#
# Lines in five minutes by template; shaded while it was flagged.

# %%
counts["template"] = counts["signature"].map(catalog.id_of)
by_time = counts.pivot_table(index="time", columns="template", values="count", aggfunc="sum", fill_value=0)
shown = templates[~templates["ignored"]]
figure, axes = plt.subplots(len(shown), 1, figsize=(10, 1.4 * len(shown)), sharex=True, layout="constrained")
for ax, (name, template) in zip(axes, shown.iterrows(), strict=True):
    series = by_time.loc[START + pd.Timedelta(days=1) :, name]
    ax.plot(series.index, series, color="#0072b2", drawstyle="steps-pre")
    ax.set_title(template["text"], loc="left", fontsize=9)
    for (of, kind), row in anomalies.iterrows():
        if of == name:
            ax.axvspan(row["begun"] - pd.Timedelta(minutes=5), row["ended"], color="#d55e00", alpha=0.25)
            ax.annotate(kind, (row["begun"], ax.get_ylim()[1]), fontsize=8, va="top")
axes[-1].xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))
axes[-1].set_xlabel("time (UTC)")
plt.show()
