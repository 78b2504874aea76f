"""Formats of metrics: bytes of JSON or Influx lines in, an `EventBatch` with a row for each point out.

May import what `decode` may.
"""
