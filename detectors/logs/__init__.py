"""Panels of counts per log signature in; verdicts on new, surging and vanished templates out.

May import `api`, `calibration`, `slo` and below.
"""
