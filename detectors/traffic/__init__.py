"""Panels of rates, error ratios, latencies and counts in, verdicts on unusual traffic out.

May import `api`, `calibration`, `slo` and below.
"""
