"""A copy of the live state in, the text of `/metrics` out; one module per group of metric families.

May import what `publish` may.
"""
