"""Snapshots and transitions of alerts in; `/metrics`, alerts at their receivers, and the live page out.

May import `judge` and below.
"""
