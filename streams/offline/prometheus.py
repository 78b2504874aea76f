"""Any query of Prometheus over a range of time as a DataFrame, by its HTTP API (`/api/v1/query_range`).

Works with whatever speaks that API: Prometheus, Mimir, Thanos, VictoriaMetrics. A range of more points than
Prometheus gives at once is asked for in parts.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import pandas as pd

__all__ = ["PrometheusError", "query_range"]

POINTS_MAX = 11_000
"""Points of a series that Prometheus gives at once."""

TIMEOUT_S = 60.0


class PrometheusError(Exception):
    """No answer, or one that says what is wrong with the query."""


def query_range(
    url: str,
    query: str,
    *,
    start: pd.Timestamp,
    end: pd.Timestamp,
    step: pd.Timedelta,
    headers: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """A row for each series and step that has a value: `time` (UTC), a column a label, `value`. Native
    histograms have none; ask for their quantiles.

    url        : `http://host:9090`, a path before `/api/v1` included; `user:password@` is sent as such
    start, end : both included, with their time zone
    step       : of whole milliseconds
    headers    : such as `{"Authorization": "Bearer …"}` or a tenant's

    A label that only some series have is empty in the others. Ready for `Panel.from_table(table,
    by=[labels], time="time")`.

    Raises PrometheusError, and ValueError for a range that is none.
    """
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError("start and end need a time zone: pd.Timestamp('2026-03-02', tz='UTC')")
    step_ms, start_ms, end_ms = (_ms(length) for length in (step, start - _EPOCH, end - _EPOCH))
    if step_ms < 1 or end_ms < start_ms:
        raise ValueError(f"start={start}, end={end}, step={step}: expected start <= end and a step above 0")
    series: list[dict[str, Any]] = []
    for first_ms in range(start_ms, end_ms + 1, POINTS_MAX * step_ms):
        last_ms = min(end_ms, first_ms + (POINTS_MAX - 1) * step_ms)
        form = {"query": query, "start": first_ms / 1e3, "end": last_ms / 1e3, "step": step_ms / 1e3}
        series += _result(url, form, headers or {})
    return _table(series)


_EPOCH = pd.Timestamp(0, tz="UTC")


def _ms(length: pd.Timedelta) -> int:
    return int(length // pd.Timedelta(milliseconds=1))


def _result(url: str, form: Mapping[str, Any], headers: Mapping[str, str]) -> list[dict[str, Any]]:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"expected an address such as http://localhost:9090, found {parts.scheme}://{host}")
    address = f"{parts.scheme}://{host}{parts.path.rstrip('/')}/api/v1/query_range"
    sent = dict(headers)
    if parts.username is not None:
        pair = f"{parts.username}:{parts.password or ''}".encode()
        sent.setdefault("Authorization", f"Basic {base64.b64encode(pair).decode('ascii')}")
    # In the body, since long queries do not fit into an address.
    request = urllib.request.Request(address, urlencode(form).encode(), sent)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            answer = json.loads(response.read())
    except urllib.error.HTTPError as error:
        raise PrometheusError(f"{address}: {error.code}, {_told(error.read())}") from error
    except (OSError, ValueError) as error:
        raise PrometheusError(f"{address}: no answer of Prometheus: {error}") from error
    data = answer.get("data", {}) if isinstance(answer, dict) else {}
    if data.get("resultType") != "matrix":
        raise PrometheusError(f"{address}: expected a matrix, found {str(answer)[:200]}")
    result: list[dict[str, Any]] = data["result"]
    return result


def _told(body: bytes) -> str:
    """What an answer says is wrong."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")


def _table(series: list[dict[str, Any]]) -> pd.DataFrame:
    names = sorted({name for one in series for name in one["metric"]})
    lengths = [len(one.get("values", ())) for one in series]
    seconds = np.fromiter(_column(series, 0), np.float64, sum(lengths))
    labels = {
        name: np.repeat(np.array([one["metric"].get(name, "") for one in series], object), lengths)
        for name in names
    }
    time = pd.to_datetime(np.round(seconds * 1e3).astype(np.int64), unit="ms", utc=True)
    value = np.fromiter(_column(series, 1), np.float64, sum(lengths))
    table = pd.DataFrame({"time": time, **labels, "value": value})
    return table.sort_values(["time", *names], kind="stable", ignore_index=True)


def _column(series: list[dict[str, Any]], place: int) -> Iterator[float]:
    return (float(sample[place]) for one in series for sample in one.get("values", ()))
