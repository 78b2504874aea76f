"""Formats of plain text lines: access logs in, an `EventBatch` out.

May import what `decode` may.
"""
