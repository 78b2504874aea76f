"""A detector as somebody else writes it, in a file outside the package."""

from __future__ import annotations

from pathlib import Path

MODULE, CLASS = "surge_detector", "Surge"

CODE = '''\
"""Series that rise above everything they have shown."""

import numpy as np

from detectors.api.detector import TICKET, Verdicts


class Surge:
    name = "surge"

    def __init__(self, *, times: float, feature: str = "rate", false_alarms_per_series_per_week: float = 0.1):
        if times <= 1:
            raise ValueError(f"times={times}, expected more than 1")
        self.times = times
        self.feature = feature
        self.highest = {}

    def fit(self, panel):
        self.highest = {}
        self.update(panel)
        return self

    def score(self, panel):
        before = dict(self.highest)
        try:
            return self.update(panel)
        finally:
            self.highest = before

    def update(self, panel):
        verdicts = Verdicts.empty(*panel.values.shape)
        place = panel.features.index(self.feature)
        for step, row in enumerate(panel.values[:, :, place]):
            for column, (name, value) in enumerate(zip(panel.series, row.tolist(), strict=True)):
                if np.isnan(value):
                    continue
                known = self.highest.get(name)
                verdicts.tail[step, column] = 1.0
                if known is not None and value > self.times * known:
                    verdicts.tail[step, column] = 1e-9
                    verdicts.alarm[step, column] = True
                    verdicts.severity[step, column] = TICKET
                    verdicts.direction[step, column] = 1
                    verdicts.contributions[step, column, place] = 1.0
                    verdicts.expected[step, column, place] = known
                    verdicts.kind[step, column] = "surge"
                else:
                    self.highest[name] = max(value, known or 0.0)
        return verdicts

    def state(self):
        names = [list(name) for name in self.highest]
        return {"series": names, "highest": np.array([*self.highest.values()])}

    def restore(self, state):
        if set(state) != {"series", "highest"}:
            raise ValueError("not a state of surge")
        self.highest = {tuple(n): v for n, v in zip(state["series"], state["highest"].tolist(), strict=True)}
'''


def write_detector(folder: Path) -> str:
    """Write the file; returns what `module:Class` calls it."""
    (folder / f"{MODULE}.py").write_text(CODE, encoding="utf-8")
    return f"{MODULE}:{CLASS}"


def install_detector(folder: Path) -> str:
    """Write the file, and the one line of an entry point as an installer leaves it; returns its name."""
    place = write_detector(folder)
    told = folder / "surge-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: surge\nVersion: 1.0\n", encoding="utf-8")
    (told / "entry_points.txt").write_text(f"[streamgauge.detectors]\nsurge = {place}\n", encoding="utf-8")
    return "surge"
