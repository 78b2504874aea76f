"""Raw `Records` in, an `EventBatch` out: one folder per family of formats, one line in `registry` per
format.

May import `language` and below.
"""
