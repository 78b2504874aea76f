"""Sealed buckets in; panels for detectors, their verdicts, and transitions of anomalies out.

May import `window` and below.
"""
