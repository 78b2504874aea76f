"""Configuration files and environment in, a checked `Config` out; `compile` makes the plan of it.

May import `partials` and below.
"""
