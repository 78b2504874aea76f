"""Traffic of a small product: a shop's back end, its database, and the two LLM providers it calls.

Guarantee: the same seed and the same calls give the same events. Times come from the caller, so the same
traffic can run at any speed.

The story: all is well (a request in 3,000 fails, as everywhere), then a release leaks database
connections: the pool runs dry, checkout times out, queries crawl, and one LLM provider is overloaded at
the same time. It is rolled back, and the shop recovers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from models.arrays import EpochMs, Mask, Numbers

__all__ = ["TOPICS", "Incident", "Shop"]

TOPICS = ("requests", "queries", "llm_calls")
"""One topic for each kind of event."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the back end.

    weight      : share of the traffic, relative to the others
    median_ms   : median time of an answer; times are log-normal with `spread`
    query_count : mean number of database queries of a request
    broken      : share of its requests that fail while the incident lasts
    slowed      : factor of its times while the incident lasts
    """

    method: str
    path: str
    weight: float
    median_ms: float
    spread: float
    query_count: float
    broken: float = 0.02
    slowed: float = 3.0


ROUTES: Sequence[Route] = (
    Route("GET", "/api/products", 30, 38, 0.55, 1.2, broken=0.05, slowed=4),
    Route("GET", "/api/products/{id}", 28, 24, 0.50, 1.0, broken=0.05, slowed=4),
    Route("GET", "/api/search", 14, 85, 0.60, 1.5, broken=0.08, slowed=5),
    Route("POST", "/api/cart", 12, 46, 0.50, 2.0, broken=0.15, slowed=6),
    Route("POST", "/api/checkout", 6, 140, 0.45, 4.0, broken=0.45, slowed=8),
    Route("GET", "/api/orders", 7, 60, 0.55, 1.6, broken=0.10, slowed=5),
    Route("POST", "/api/assistant", 1.5, 1_100, 0.50, 1.0, broken=0.20, slowed=2),
    Route("GET", "/health", 1.5, 2, 0.30, 0.0, broken=0.0, slowed=1),
)


@dataclass(frozen=True, slots=True)
class Query:
    """One statement of the database: its relative weight and its time, log-normal."""

    operation: str
    table: str
    weight: float
    median_ms: float
    spread: float


QUERIES: Sequence[Query] = (
    Query("SELECT", "products", 55, 5, 0.7),
    Query("SELECT", "orders", 18, 9, 0.8),
    Query("SELECT", "customers", 12, 4, 0.6),
    Query("INSERT", "orders", 6, 12, 0.6),
    Query("UPDATE", "stock", 6, 16, 0.9),
    Query("SELECT", "reviews", 3, 60, 0.9),
)


@dataclass(frozen=True, slots=True)
class Provider:
    """One LLM provider: its model, how fast it writes, and its share of failures during the incident."""

    name: str
    model: str
    weight: float
    tokens_per_second: float
    broken: float


PROVIDERS: Sequence[Provider] = (
    Provider("anthropic", "claude-haiku", 60, 110, 0.02),
    Provider("openai", "gpt-mini", 40, 90, 0.40),
)

FAILED_SHARE = 1 / 3_000
"""Requests that fail although all is well: a third of the budget of 99.9 %."""

REFUSED_SHARE = 0.02
"""Requests that the client got wrong (401, 404, 422), which no SLO counts as bad."""

SLOW_QUERY_SHARE = 0.001
"""Queries that wait for a lock although all is well."""

FAILURES = (500, 502, 503, 504)
REFUSALS = (401, 404, 422)


@dataclass(frozen=True, slots=True)
class Incident:
    """When the release is live, in event time; `severity_at` rises within its first tenth."""

    start_ms: int
    end_ms: int

    def severity_at(self, time_ms: EpochMs) -> Numbers:
        """How far the incident holds sway, 0 to 1 : Numbers [E]."""
        ramp_ms = max(1.0, (self.end_ms - self.start_ms) / 10)
        rising = np.clip((time_ms - self.start_ms) / ramp_ms, 0.0, 1.0)
        return np.where(time_ms < self.end_ms, rising, 0.0)


class Shop:
    """The product; `serve` gives what it wrote while some time went by."""

    def __init__(self, *, incident: Incident, seed: int) -> None:
        self._incident = incident
        self._random = np.random.default_rng(seed)
        self._route_shares = _shares([route.weight for route in ROUTES])
        self._query_shares = _shares([query.weight for query in QUERIES])
        self._provider_shares = _shares([provider.weight for provider in PROVIDERS])

    def serve(self, start_ms: int, end_ms: int, count: int) -> Mapping[str, list[tuple[int, bytes]]]:
        """Events of `count` requests within [start_ms, end_ms), by topic, as (time in ms, JSON)."""
        random = self._random
        time_ms = np.sort(random.integers(start_ms, max(end_ms, start_ms + 1), count))
        severity = self._incident.severity_at(time_ms)
        route = random.choice(len(ROUTES), count, p=self._route_shares)
        median, spread, queries, broken, slowed = _columns(
            ROUTES, "median_ms", "spread", "query_count", "broken", "slowed"
        )
        slowing = 1 + severity * (slowed[route] - 1)
        duration_ms = median[route] * random.lognormal(0.0, spread[route]) * slowing
        failed = random.random(count) < FAILED_SHARE + severity * broken[route]
        refused = ~failed & (random.random(count) < REFUSED_SHARE)
        status = self._status(route, failed, refused)
        # A failed request has mostly waited for a connection until the pool gave up.
        waited_ms = random.uniform(800, 5_000, count)
        duration_ms = np.where(failed, np.maximum(duration_ms, waited_ms), duration_ms)
        trace = np.frombuffer(random.bytes(16 * count).hex().encode(), dtype="S32").astype(np.str_)
        asked = np.repeat(np.arange(count), random.poisson(queries[route]))
        assistant = next(index for index, one in enumerate(ROUTES) if one.path == "/api/assistant")
        called = np.flatnonzero((route == assistant) & ~refused)
        return {
            "requests": [
                _event(at, service="shop-api", method=ROUTES[r].method, route=ROUTES[r].path, status=s,
                       duration_ms=round(d, 2), client=f"10.0.{c >> 8}.{c & 255}", trace_id=t)
                for at, r, s, d, c, t in zip(
                    time_ms.tolist(), route.tolist(), status.tolist(), duration_ms.tolist(),
                    random.zipf(1.4, count).clip(max=65_535).tolist(), trace.tolist(), strict=True,
                )
            ],
            "queries": list(self._queries(time_ms[asked], severity[asked], trace[asked])),
            "llm_calls": list(self._llm_calls(time_ms[called], severity[called], trace[called])),
        }  # fmt: skip

    def _status(self, route: NDArray[np.int64], failed: Mask, refused: Mask) -> NDArray[np.int64]:
        good = np.array([201 if one.method == "POST" else 200 for one in ROUTES])[route]
        failure = self._random.choice(FAILURES, len(route), p=(0.3, 0.1, 0.2, 0.4))
        refusal = self._random.choice(REFUSALS, len(route), p=(0.2, 0.6, 0.2))
        return np.select([failed, refused], [failure, refusal], good)

    def _queries(
        self, time_ms: EpochMs, severity: Numbers, trace: NDArray[np.str_]
    ) -> Iterator[tuple[int, bytes]]:
        count = len(time_ms)
        query = self._random.choice(len(QUERIES), count, p=self._query_shares)
        median, spread = _columns(QUERIES, "median_ms", "spread")
        duration_ms = median[query] * self._random.lognormal(0.0, spread[query])
        waits = self._random.random(count) < SLOW_QUERY_SHARE + 0.12 * severity
        duration_ms += np.where(waits, self._random.uniform(1_000, 4_000, count), 0.0)
        rows = self._random.geometric(0.2, count)
        for at, q, duration, row, t in zip(
            time_ms.tolist(), query.tolist(), duration_ms.tolist(), rows.tolist(), trace.tolist(), strict=True
        ):
            kind = QUERIES[q]
            yield _event(at, service="shop-db", operation=kind.operation, table=kind.table, rows=row,
                         duration_ms=round(duration, 2), trace_id=t)  # fmt: skip

    def _llm_calls(
        self, time_ms: EpochMs, severity: Numbers, trace: NDArray[np.str_]
    ) -> Iterator[tuple[int, bytes]]:
        count = len(time_ms)
        chosen = self._random.choice(len(PROVIDERS), count, p=self._provider_shares)
        speed, broken = _columns(PROVIDERS, "tokens_per_second", "broken")
        failed = self._random.random(count) < 0.003 + severity * broken[chosen]
        asked = self._random.negative_binomial(3, 0.004, count)
        answered = np.where(failed, 0, self._random.negative_binomial(2, 0.02, count))
        duration_ms = 300 + 1_000 * answered / speed[chosen] * self._random.lognormal(0.0, 0.2, count)
        for at, c, bad, tokens_in, tokens_out, duration, t in zip(
            time_ms.tolist(), chosen.tolist(), failed.tolist(), asked.tolist(), answered.tolist(),
            duration_ms.tolist(), trace.tolist(), strict=True,
        ):  # fmt: skip
            provider = PROVIDERS[c]
            yield _event(at, service="shop-assistant", provider=provider.name, model=provider.model,
                         status=529 if bad else 200, input_tokens=tokens_in, output_tokens=tokens_out,
                         duration_ms=round(duration, 2), trace_id=t)  # fmt: skip


def _event(time_ms: int, **fields: object) -> tuple[int, bytes]:
    return time_ms, orjson.dumps({"ts": time_ms, **fields})


def _shares(weights: Sequence[float]) -> Numbers:
    total = sum(weights)
    return np.array([weight / total for weight in weights], dtype=np.float64)


def _columns(things: Sequence[object], *names: str) -> list[Numbers]:
    return [np.array([getattr(thing, name) for thing in things], dtype=np.float64) for name in names]
