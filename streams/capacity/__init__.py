"""Sealed buckets of limited resources in, forecasts of when they run out and their alerts out; fits run in
processes of their own.

May import `judge` and below.
"""
