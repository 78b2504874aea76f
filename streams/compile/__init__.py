"""A `Config` with its SLO files and rules in, the `Plan` that runs out; and `check`, which lists every
mistake.

May import `openslo`, `sigma` and below.
"""
