"""Labels and histories in; thresholds that heed labels, fitted models and comparisons with a shadow out.

May import `api`, `calibration`, `slo` and below.
"""
