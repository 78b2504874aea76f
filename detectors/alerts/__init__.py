"""Judgements of SLOs and verdicts in; alerts, their transitions, and incidents of the same cause out.

May import `api`, `calibration`, `slo` and below.
"""
