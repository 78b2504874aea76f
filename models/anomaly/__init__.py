"""Arrays of observations in; baselines, residuals and anomaly scores out: isolation forest, seasonal and
joint models.

May import `arrays`, `calendar`, `processes`.
"""
