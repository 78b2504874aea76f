"""Panels of several signals per service in; verdicts on unusual combinations of them out.

May import `api`, `calibration`, `slo` and below.
"""
