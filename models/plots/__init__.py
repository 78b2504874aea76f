"""Forecasts in, matplotlib figures out.

May import `capacity` and below.
"""
