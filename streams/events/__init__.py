"""The values that decoders read and write: raw `Records`, and the columns of an `EventBatch`.

May import `detectors` and below.
"""
