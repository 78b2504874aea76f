"""Forecasts of limited resources in, capacity alerts and their words out.

May import `alerts`, `feedback`, `logs`, `multivariate`, `security`, `traffic` and below.
"""
