"""The SLIs that workers publish in `<app>-slis` as a DataFrame, with the columns of a replay's file.

Guarantee: it only reads, with no consumer group and no commit; what was published twice is there once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa

from detectors.alerts.names import span_name
from detectors.slo.budget import burn_rate, error_budget_remaining, good_ratio
from streams.config.models import Config
from streams.kafka.client import client_arguments
from streams.kafka.topic_reader import read_topic
from streams.kafka.topics import Topics
from streams.offline.slis import SCHEMA

__all__ = ["slis_from_kafka", "slis_from_topic", "table_of_records"]


def slis_from_kafka(config: Config, *, since: pd.Timestamp | None = None) -> pd.DataFrame:
    """All SLIs that the topic holds now, also where a loop is running, as it is in Jupyter.

    config : names app, broker and credentials; `streams.config.load.load_config` reads it
    since  : event time, with its zone, before which they are left out

    Columns as in `streams.offline.slis`, ordered by time. Counts of sums and ratios are in millionths.

    Raises TopicError where the broker or the topic is not there.
    """
    return _run(slis_from_topic(config, since=since))


async def slis_from_topic(config: Config, *, since: pd.Timestamp | None = None) -> pd.DataFrame:
    """`slis_from_kafka` as a coroutine."""
    records = await read_topic(client_arguments(config), Topics(config.app).slis)
    table = table_of_records(record.value for record in records if record.value is not None)
    return table if since is None else table[table["time"] >= since].reset_index(drop=True)


def table_of_records(values: Iterable[bytes]) -> pd.DataFrame:
    """Records of the topic as a DataFrame; of those about the same the last holds."""
    rows: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for value in values:
        record = orjson.loads(value)
        about = (record["at_ms"], record["service"], record["slo"], record["objective"])
        for group in record["groups"]:
            labels = orjson.dumps(dict(zip(record["group_by"], group["labels"], strict=True))).decode()
            budget = (group["budget_good"], group["budget_total"], record["target"])
            for window_ms, good, total in zip(
                record["windows_ms"], group["good"], group["total"], strict=True
            ):
                rows[*about, labels, window_ms] = (*about, labels, window_ms, good, total, *budget)
    parts = [list(column) for column in zip(*rows.values(), strict=True)] or [[] for _ in range(11)]
    at_ms, service, slo, objective, texts, windows_ms, good, total, budget_good, budget_total, target = parts
    counts = [np.array(column, np.int64) for column in (good, total, budget_good, budget_total)]
    targets = np.array(target, np.float64)
    columns = (
        np.array(at_ms, np.int64).astype("datetime64[ms]"),
        service,
        slo,
        objective,
        texts,
        [span_name(window_ms) for window_ms in windows_ms],
        counts[0],
        counts[1],
        good_ratio(counts[0], counts[1]),
        _by_target(burn_rate, counts[0], counts[1], targets),
        _by_target(error_budget_remaining, counts[2], counts[3], targets),
    )
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=SCHEMA).to_pandas()
    return table.sort_values("time", kind="stable", ignore_index=True)


def _by_target(of: Any, good: Any, total: Any, targets: Any) -> Any:
    """Numbers [N] of a function that takes one target at a time."""
    result = np.full(len(targets), np.nan)
    for target in np.unique(targets):
        rows = targets == target
        result[rows] = of(good[rows], total[rows], float(target))
    return result


def _run(work: Coroutine[Any, Any, pd.DataFrame]) -> pd.DataFrame:
    """The result of a coroutine, run on a loop and a thread of its own."""
    done: list[pd.DataFrame | BaseException] = []

    def target() -> None:
        try:
            done.append(asyncio.run(work))
        except BaseException as error:
            done.append(error)

    thread = threading.Thread(target=target, name="read-slis")
    thread.start()
    thread.join()
    (result,) = done
    if isinstance(result, BaseException):
        raise result
    return result
