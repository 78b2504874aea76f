"""SLIs as DataFrames: the same whichever file they were in, and whichever way they were published."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.config.models import Config
from streams.demo.access_log import write_access_log
from streams.judge.slo_judge import SliReport
from streams.offline.files import read_records
from streams.offline.flow import LocalFlow
from streams.offline.kafka_slis import table_of_records
from streams.offline.prometheus import PrometheusError, query_range
from streams.offline.replay import replay_files
from streams.offline.replay_slis import slis_from_replay
from streams.offline.report_tables import sli_table
from streams.offline.slis import SCHEMA, TableFormat
from streams.worker.window_stage import encode_report

START = datetime(2026, 3, 2, tzinfo=UTC)
RANGE = {
    "start": pd.Timestamp(START),
    "end": pd.Timestamp(START) + pd.Timedelta(hours=1),
    "step": pd.Timedelta(minutes=1),
}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "access.log"
    write_access_log(path, start=START, duration=timedelta(minutes=20), rate=0.5)
    return path


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(Path(__file__).parents[4] / "examples" / "access-log.yaml")


@pytest.fixture(scope="module")
def reports(log: Path, config: Config) -> list[SliReport]:
    found: list[SliReport] = []
    flow = LocalFlow(compile_plan(config), on_slis=found.append)
    for _, partition, records in read_records(log):
        flow.feed(next(iter(config.sources)), partition, records)
    flow.finish()
    return found


@pytest.mark.parametrize("format", get_args(TableFormat))
def test_all_formats_of_a_replay_give_the_same(
    log: Path, config: Config, reports: list[SliReport], tmp_path: Path, format: TableFormat
) -> None:
    replay_files([log], config, tmp_path, table_format=format)
    table = slis_from_replay(tmp_path)
    pd.testing.assert_frame_equal(table, sli_table(reports))
    pd.testing.assert_frame_equal(slis_from_replay(tmp_path / f"slis.{format}"), table)


def test_what_is_no_replay_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no slis\.parquet, slis\.csv, slis\.jsonl"):
        slis_from_replay(tmp_path)
    (tmp_path / "slis.csv").write_text("time,service\n")
    with pytest.raises(ValueError, match="without the column 'slo'"):
        slis_from_replay(tmp_path)


def test_records_of_the_topic_say_the_same_as_a_replay(reports: list[SliReport]) -> None:
    records = [part for report in reports for part in encode_report(report)]
    expected = sli_table(reports).drop_duplicates(["time", "slo", "window"]).reset_index(drop=True)
    columns = ["time", "service", "slo", "objective", "labels", "window"]
    expected = expected.sort_values(columns, ignore_index=True)
    for published in (records, records + records[:3]):
        table = table_of_records(published).sort_values(columns, ignore_index=True)
        pd.testing.assert_frame_equal(table, expected)


def test_no_records_give_a_frame_of_the_same_columns(reports: list[SliReport]) -> None:
    nothing = table_of_records([])
    assert list(nothing.columns) == SCHEMA.names
    assert nothing.dtypes.to_list() == sli_table(reports).dtypes.to_list()


def test_groups_and_targets_are_told_apart() -> None:
    record = {
        "at_ms": 60_000,
        "service": "shop",
        "slo": "availability",
        "objective": "",
        "target": 0.9,
        "group_by": ["region"],
        "windows_ms": [300_000],
        "groups": [
            {"labels": ["eu"], "good": [9], "total": [10], "budget_good": 90, "budget_total": 100},
            {"labels": ["us"], "good": [0], "total": [0], "budget_good": 0, "budget_total": 0},
        ],
    }
    strict = {**record, "objective": "strict", "target": 0.99}
    table = table_of_records(json.dumps(one).encode() for one in (record, strict))
    assert list(table["labels"]) == ['{"region":"eu"}', '{"region":"us"}'] * 2
    assert table.loc[[0, 2], "burn_rate"].to_list() == pytest.approx([1.0, 10.0])
    assert table.loc[[0, 2], "budget_remaining_ratio"].to_list() == pytest.approx([0.0, -9.0])
    assert table.loc[[1, 3], ["ratio", "burn_rate", "budget_remaining_ratio"]].isna().all(axis=None)


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="need a time zone"):
        query_range("http://localhost", "up", **{**RANGE, "start": pd.Timestamp("2026-03-02")})
    with pytest.raises(ValueError, match="a step above 0"):
        query_range("http://localhost", "up", **{**RANGE, "step": pd.Timedelta(0)})
    with pytest.raises(ValueError, match="an address such as"):
        query_range("localhost:9090", "up", **RANGE)


def test_nobody_there_is_said_without_the_password() -> None:
    with pytest.raises(PrometheusError, match="no answer of Prometheus") as caught:
        query_range("http://ann:s3cret@127.0.0.1:9", "up", **RANGE)
    assert "s3cret" not in str(caught.value)
