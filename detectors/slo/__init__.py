"""Counts of good and all events in; error ratios, burn rates and budgets out.

May import `models`.
"""
