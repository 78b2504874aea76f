"""Paths of a forecast in; probabilities and times of reaching a limit, or of using up a quota or budget,
out.

May import `anomaly`, `forecast`, `logs`, `registry` and below.
"""
