"""An `EventBatch` of one source partition in, frames of cumulative partials per series and bucket out.

May import `compile`, `kafka` and below.
"""
