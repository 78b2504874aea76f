"""The history of one series in, a forecast with calibrated intervals and paths out.

May import `arrays`, `calendar`, `processes`.
"""
