"""How sure an error ratio is: the lowest true ratio that the counts do not rule out.

Guarantee: a bound lies between 0 and the measured ratio, rises with the number of bad events, falls with
the confidence, and is 0 without traffic, for no evidence proves nothing. `confidence` is one-sided: the
true ratio lies below the bound in at most `1 - confidence` of the cases, when events are independent.
That holds for every count with Clopper-Pearson. Wilson's bound, a closed formula, only approximates it and is
far too bold for few bad events: a single one of n has the bound 0.22 / n at 0.95, although a true ratio that
small shows a bad event in one case of five, not of twenty.

Cost: 2 µs a series; call it for the series in question only.

Sources: Clopper and Pearson, The Use of Confidence or Fiducial Limits, Biometrika 26 (1934); Brown, Cai and
DasGupta, Interval Estimation for a Binomial Proportion, Statistical Science 16 (2001).
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv

from models.arrays import Numbers


def clopper_pearson_lower(bad: Numbers, total: Numbers, confidence: float) -> Numbers:
    """The exact bound: the ratio at which `bad` or more of `total` have the chance `1 - confidence`.

    bad, total : Numbers [S], 0 <= bad <= total; fractions of an event are allowed
    confidence : 0 <= confidence < 1; 0 gives the measured ratio itself
    returns    : Numbers [S], 0 <= bound <= bad / total

    >>> clopper_pearson_lower(np.array([0.0, 1.0, 5.0]), np.array([9.0, 1.0, 100.0]), 0.95).round(4).tolist()
    [0.0, 0.05, 0.0199]
    """
    assert 0 <= confidence < 1
    ratio = _ratio(bad, total)
    if confidence == 0:
        return ratio
    bound = np.zeros_like(ratio)
    some = (bad > 0) & (total > 0)
    bound[some] = betaincinv(bad[some], total[some] - bad[some] + 1.0, 1.0 - confidence)
    # A low confidence asks for a point above the middle, which for few events lies above the ratio.
    result: Numbers = np.minimum(bound, ratio)
    return result


def _ratio(bad: Numbers, total: Numbers) -> Numbers:
    ratio = np.zeros(np.shape(total))
    np.divide(bad, total, out=ratio, where=total > 0)
    return ratio
