"""A second model that judges the same panels as the champion, without alerting anyone."""

from __future__ import annotations

import time
from collections.abc import Callable

from detectors.api.detector import Detector, Panel, Verdicts, check_verdicts
from models.registry.shadow_report import Comparison

__all__ = ["Shadow"]


class Shadow:
    """Champion and shadow as one: `update` judges with both and gives the champion's verdicts.

    A shadow that fails is left out from then on, and `failure` says why; the champion is not affected.
    """

    def __init__(
        self,
        champion: Detector,
        shadow: Detector,
        *,
        cpu_clock_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self.champion = champion
        self.shadow = shadow
        self.failure = ""
        self.comparison = Comparison()
        self._clock_s = cpu_clock_s

    def update(self, panel: Panel) -> Verdicts:
        """The champion's verdicts; the shadow's are compared with them."""
        start = self._clock_s()
        verdicts = self.champion.update(panel)
        middle = self._clock_s()
        if not self.failure:
            try:
                other = self.shadow.update(panel)
                check_verdicts(other, panel)
            except Exception as error:  # whatever it raises, it is only a trial
                self.failure = f"{type(error).__name__}: {error}"
            else:
                self.comparison.add(
                    panel.times,
                    panel.series,
                    (verdicts.tail, verdicts.alarm),
                    (other.tail, other.alarm),
                    cpu_seconds=(middle - start, self._clock_s() - middle),
                )
        return verdicts
