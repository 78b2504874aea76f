"""Judging: sealed buckets as panels, detectors over them, and the alerts that they raise."""
