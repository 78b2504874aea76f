"""Panels of counts per address, user or key, or per group of a Sigma rule, in; verdicts on attacks out.

May import `api`, `calibration`, `slo` and below.
"""
