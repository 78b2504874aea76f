"""Corrects tail probabilities by the tails that were seen: the surprise beyond a threshold, refitted.

A model's tails are right in the middle and wrong far out. With x = -ln tail, the excess of x over a
threshold is exponential with mean 1 if the model is right; here its share and mean are learnt from all that
is judged (the exponential case of peaks over threshold, Siffer et al., KDD 2017). Tails only grow by it.
Cost: constant memory.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np

from models.anomaly.tails import exceedance_mean, exceedance_share
from models.arrays import Numbers

THRESHOLD = 0.01
"""Tail from which on the model is corrected."""

EXCESS_MAX = 8.0
"""Excess beyond which a value is an anomaly rather than a fault of the model; more is cut."""

PRIOR_COUNT = 10.0
"""Exceedances for which the model's own tail speaks."""


@dataclass(slots=True)
class TailExcess:
    """judged, exceeded: values seen and those below the threshold; excess: sum of the latter's excess."""

    judged: float = 0.0
    exceeded: float = 0.0
    excess: float = 0.0

    def corrected(self, tails: Numbers) -> Numbers:
        """Tails Numbers [N] with those below the threshold corrected; NaN stays."""
        share = exceedance_share(self.exceeded, self.judged, prior=PRIOR_COUNT, share=THRESHOLD)
        mean = max(exceedance_mean(self.excess, self.exceeded, prior=PRIOR_COUNT, mean=1.0), 1.0)
        with np.errstate(divide="ignore"):
            excess = np.log(THRESHOLD) - np.log(tails)
        fitted = max(share, THRESHOLD) * np.exp(-excess / mean)
        return np.where(excess > 0, np.minimum(np.maximum(tails, fitted), 1.0), tails)

    def learn(self, tails: Numbers, fade: float) -> None:
        """Tails Numbers [N] as the model gave them; what was learnt before is multiplied by `fade`."""
        excess = np.log(THRESHOLD) - np.log(np.maximum(tails[~np.isnan(tails)], 1e-300))
        beyond = excess[excess > 0]
        self.judged = self.judged * fade + len(excess)
        self.exceeded = self.exceeded * fade + len(beyond)
        self.excess = self.excess * fade + float(np.minimum(beyond, EXCESS_MAX).sum())

    def state(self) -> list[float]:
        """The three numbers, for `TailExcess(*state)`."""
        return list(astuple(self))
