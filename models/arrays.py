"""Names for arrays in public signatures, so that a signature shows dtype and axis.

Axes are lettered the same way in every docstring: E events, R records, S series, T slots of a ring,
W windows, C counters, K bins of a sketch, P source partitions, F features.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Counts: TypeAlias = NDArray[np.int64]
"""Exact whole numbers: events, good events, bins of a sketch, sums in micro-units."""

EpochMs: TypeAlias = NDArray[np.int64]
"""Times in milliseconds since 1970-01-01T00:00:00Z."""

Offsets: TypeAlias = NDArray[np.int64]
"""Offsets of records in a Kafka partition."""

Codes: TypeAlias = NDArray[np.int32]
"""Positions in a dictionary of strings; -1 stands for a missing value."""

Rows: TypeAlias = NDArray[np.int64]
"""Positions of rows in another array."""

Hashes: TypeAlias = NDArray[np.uint64]
"""64-bit keys of series names; equal names have equal keys on every machine."""

Mask: TypeAlias = NDArray[np.bool_]
"""One truth value a row."""

Numbers: TypeAlias = NDArray[np.float64]
"""Measured values in base units (seconds, bytes, ratios); NaN stands for a missing value."""
