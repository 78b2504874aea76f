"""Forecasts on request and on schedule: series from files, answers about limits, the worker's planner."""
