"""Outliers of a table of numbers: an isolation forest, and how far the nearest row is that was seen before.

The forest sees what is rare in few columns, whatever their units; it is blind to combinations of usual
values. The nearest of the rows that were taken for normal sees these; but how far is far is not comparable
between columns, so beyond `FAR_MAX` distances count alike and the forest ranks them. Each is turned into a
tail probability p on the training rows. 1 / (2 sqrt(p)) is an e-value, and so is the mean of two, however
dependent (Vovk, Wang, "E-values", Annals of Statistics 2021); what comes out is calibrated once more.

Rows of an attack may be among those that are learnt from, many and alike: the oddest 1 % by the forest's
score are no reference for others (0 if all are known to be normal). Distances are taken of asinh((x - mean)
/ spread), where the square of a column's spread is its variance plus the mean of all columns', so that a
column which hardly ever moves is not blown up (after the fudge factor of Tusher, Tibshirani, Chu, PNAS
2001).

Cost: 10,000 rows of 20 features against 8,192 references take 0.6 s of a core, and 7 MB are stored; a fifth
of the trees halves both (`benchmarks/forest.py`).

Axes: N rows, F features, M reference rows, K known scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.anomaly.forest import Forest, filled
from models.anomaly.tails import Tail
from models.arrays import Numbers, Rows

CONTAMINATION = 0.01
"""Share of the training rows, the oddest, that others are not compared with."""

FAR_MAX = 12.0
"""Surprise of distances beyond which they count alike, one of 160,000 rows."""

PAIRS = 1 << 23
"""Distances that are held at once, 32 MB."""

FOLDS = 8
"""Stretches of the training rows; distances that scores are calibrated on are to the other stretches."""

KNOWN = 4096
"""Training rows that scores are calibrated on."""


@dataclass(frozen=True, slots=True)
class OutlierEnsemble:
    """What is usual in a table, and how unusual a row is.

    forest    : grown from the rows as they are
    centre    : Numbers [F], mean of each column
    spread    : Numbers [F], above 0
    reference : float32 [M, F], scaled rows that were taken for normal
    rare      : tail of the forest's scores
    far       : tail of distances to the nearest other reference
    both      : tail of what is made of the two
    """

    forest: Forest
    centre: Numbers
    spread: Numbers
    reference: NDArray[np.float32]
    rare: Tail
    far: Tail
    both: Tail

    @classmethod
    def fit(
        cls,
        x: Numbers,
        *,
        trees: int = 1000,
        samples: int = 256,
        references: int = 8192,
        contamination: float = CONTAMINATION,
        seed: int = 0,
    ) -> Self:
        """Learn from x : Numbers [N, F]; NaN counts as the column's median.

        trees, samples : of the forest
        references     : rows kept at most; half of them the oddest of those that pass for normal, since there
                         the border lies, the others by chance
        contamination  : share of the rows, the oddest, that are not compared with

        Raises ValueError where x has no row or no column, or a setting is out of bounds.
        """
        if references < 2:
            raise ValueError(f"references={references}, expected 2 or more")
        if not 0 <= contamination < 0.5:
            raise ValueError(f"contamination={contamination}, expected a share from 0 and below 0.5")
        forest = Forest.fit(x, trees=trees, samples=samples, seed=seed)
        rows = filled(np.asarray(x, np.float64), forest.median).astype(np.float64)
        different, first, place = distinct(rows)
        odd = forest.score(different)[place]
        random = np.random.default_rng(seed)
        normal = np.flatnonzero(odd <= np.quantile(odd, 1.0 - contamination))
        chosen = chosen_references(odd, normal, np.sort(first), references, random)
        centre, deviation = rows.mean(axis=0), rows.std(axis=0)
        spread = np.sqrt(deviation**2 + np.mean(deviation**2))
        spread[spread == 0] = 1.0  # a table of one row, or of equal ones
        scaled = scaled_rows(rows, centre, spread)
        reference = scaled[chosen]

        every = np.sort(random.choice(len(rows), min(KNOWN, len(rows)), replace=False))
        distance = held_out_distances(scaled, every, chosen)
        rare, far = Tail.fit(odd), Tail.fit(distance[np.isin(every, normal)])
        both = Tail.fit(merged(rare.surprise(odd[every]), bounded(far.surprise(distance))))
        return cls(forest, centre, spread, reference, rare, far, both)

    def score(self, x: Numbers) -> Numbers:
        """Numbers [N], -log of the share of normal rows that look as odd; of x : Numbers [N, F]."""
        different, _, place = distinct(self._filled(x))
        rare, far, _ = self._surprises(different)
        return self.both.surprise(merged(rare, far))[place]

    def tail(self, x: Numbers) -> Numbers:
        """Numbers [N] in (0, 1], the share of normal rows that look as odd as those of x : Numbers [N, F]."""
        return np.exp(-np.minimum(self.score(x), 700.0))

    def contributions(self, x: Numbers) -> Numbers:
        """Numbers [N, F], 0 or more, how much of each row's score is due to each feature; they add up to it.

        The score is shared between forest and distance as their e-values are; within the forest by what
        shortens the row's path, within the distance by the squares that it is the root of.
        """
        rows = self._filled(x)
        rare, far, place = self._surprises(rows)
        score = self.both.surprise(merged(rare, far))
        by_forest = np.maximum(self.forest.contributions(rows), 0.0)
        by_distance = (scaled_rows(rows, self.centre, self.spread) - self.reference[place]).astype(
            np.float64
        ) ** 2
        weight = 1.0 / (1.0 + np.exp(np.clip((far - rare) / 2, -700.0, 700.0)))
        return score[:, None] * (
            weight[:, None] * shares(by_forest) + (1 - weight)[:, None] * shares(by_distance)
        )

    def expected(self, x: Numbers) -> Numbers:
        """Numbers [N, F], the normal row that is nearest to each of x : Numbers [N, F], in its units."""
        _, _, place = self._surprises(self._filled(x))
        return self.centre + self.spread * np.sinh(self.reference[place].astype(np.float64))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that was learnt, by names, for `from_arrays`."""
        return {
            **{f"forest_{name}": array for name, array in self.forest.arrays().items()},
            **{
                f"{part}_{name}": array
                for part in ("rare", "far", "both")
                for name, array in getattr(self, part).arrays().items()
            },
            "centre": self.centre,
            "spread": self.spread,
            "reference": self.reference,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The ensemble that `arrays` was taken of.

        Raises ValueError if it cannot have been: wrong names, kinds, shapes or values.
        """
        parts: dict[str, dict[str, NDArray[Any]]] = {"forest": {}, "rare": {}, "far": {}, "both": {}, "": {}}
        for name, array in arrays.items():
            part, _, rest = str(name).partition("_")
            if part in parts and rest:
                parts[part][rest] = array
            else:
                parts[""][name] = array
        if set(parts[""]) != {"centre", "spread", "reference"}:
            raise ValueError(
                f"centre, spread and reference of an ensemble expected, got {', '.join(parts['']) or 'none'}"
            )
        forest = Forest.from_arrays(parts["forest"])
        rare, far, both = (Tail.from_arrays(parts[name]) for name in ("rare", "far", "both"))
        features = len(forest.median)
        for name, shape in (
            ("centre", (features,)),
            ("spread", (features,)),
            ("reference", (None, features)),
        ):
            found = parts[""][name]
            if not isinstance(found, np.ndarray) or found.dtype.kind != "f":
                raise ValueError(f"{name!r} of an ensemble is not an array of numbers")
            if len(shape) != found.ndim or found.shape[-1] != features or len(found) == 0:
                raise ValueError(
                    f"{name!r} of an ensemble of {features} features has the shape {found.shape}"
                )
            if not np.isfinite(found).all():
                raise ValueError(f"{name!r} of an ensemble holds something that is not a number")
        if (parts[""]["spread"] <= 0).any():
            raise ValueError("a spread of an ensemble that is not above 0")
        return cls(
            forest,
            parts[""]["centre"].astype(np.float64),
            parts[""]["spread"].astype(np.float64),
            parts[""]["reference"].astype(np.float32),
            rare,
            far,
            both,
        )

    def _filled(self, x: Numbers) -> Numbers:
        x = np.asarray(x, np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.centre):
            raise ValueError(f"rows × {len(self.centre)} features expected, got an array of shape {x.shape}")
        return filled(x, self.forest.median).astype(np.float64)

    def _surprises(self, rows: Numbers) -> tuple[Numbers, Numbers, Rows]:
        """Surprise of the forest's scores, of the distances, and which reference is nearest, each [N]."""
        place, distance = nearest(scaled_rows(rows, self.centre, self.spread), self.reference)
        rare = self.rare.surprise(self.forest.score(rows))
        return rare, bounded(self.far.surprise(distance)), place


def scaled_rows(rows: Numbers, centre: Numbers, spread: Numbers) -> NDArray[np.float32]:
    """float32 [N, F], rows in units of each column's spread, growing as the logarithm far out."""
    return np.arcsinh((rows - centre) / spread).astype(np.float32)


def distinct(rows: Numbers) -> tuple[Numbers, Rows, Rows]:
    """The different rows of Numbers [N, F], the place of the first of each, and which of them each row is.

    Streams and logs repeat themselves; what is equal need be judged only once.
    """
    different, first, place = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return different, first, place.reshape(-1)


def chosen_references(
    odd: Numbers, normal: Rows, first: Rows, limit: int, random: np.random.Generator
) -> Rows:
    """Places of up to `limit` of the `normal` rows; the forest's scores of all rows are odd : Numbers [N].

    Where there are more, of equal rows only the `first` is kept; then half are the oddest, half by chance.
    """
    if len(normal) <= limit:
        return normal
    different = np.intersect1d(normal, first, assume_unique=True)
    if len(different) <= limit:
        return different
    order = different[np.argsort(-odd[different], kind="stable")]
    border = limit // 2
    return np.concatenate([order[:border], random.choice(order[border:], limit - border, replace=False)])


def held_out_distances(scaled: NDArray[np.float32], rows: Rows, chosen: Rows) -> Numbers:
    """Numbers [rows], distances from some of float32 [N, F] to the nearest of the `chosen` of another fold.

    Folds are stretches of rows as they came: a burst of equal rows would find each other, and every later row
    seem far away.
    """
    found = np.zeros(len(rows))
    fold, of_chosen = rows * FOLDS // len(scaled), chosen * FOLDS // len(scaled)
    for number in range(FOLDS):
        inside, others = fold == number, chosen[of_chosen != number]
        if len(others):
            found[inside] = nearest(scaled[rows[inside]], scaled[others])[1]
    return found


def nearest(rows: NDArray[np.float32], reference: NDArray[np.float32]) -> tuple[Rows, Numbers]:
    """Places Rows [N] and Euclidean distances Numbers [N] of the nearest of float32 [M, F] to each row."""
    place = np.zeros(len(rows), np.int64)
    squares = np.einsum("mf,mf->m", reference, reference) / 2
    block = max(1, PAIRS // len(reference))
    for first in range(0, len(rows), block):
        closeness = rows[first : first + block] @ reference.T
        closeness -= squares
        place[first : first + block] = closeness.argmax(axis=1)
    # 32 bits are enough to find the nearest, but not to say that a distance is 0.
    distance = np.sqrt(((rows - reference[place]).astype(np.float64) ** 2).sum(axis=1))
    return place, distance


def merged(first: Numbers, second: Numbers) -> Numbers:
    """Numbers [N], twice the log of the mean of two e-values: of the order of the larger surprise."""
    found: Numbers = 2.0 * np.logaddexp(first / 2, second / 2) - 2.0 * np.log(2.0)
    return found


def bounded(surprise: Numbers) -> Numbers:
    """Numbers [N], surprises of distances up to `FAR_MAX`."""
    return np.minimum(surprise, FAR_MAX)


def shares(parts: Numbers) -> Numbers:
    """Each row of parts : Numbers [N, F], not below 0, as shares of its sum; equal ones where that is 0."""
    total = parts.sum(axis=1, keepdims=True)
    return np.where(total > 0, parts / np.where(total > 0, total, 1.0), 1.0 / max(1, parts.shape[1]))
