"""Formats of JSON events and logs: bytes in, an `EventBatch` of the columns that a source wants out.

May import what `decode` may.
"""
