"""Scores in, tails out, such that the configured rate of false alarms holds.

May import `models`.
"""
