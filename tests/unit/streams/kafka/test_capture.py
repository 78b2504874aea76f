"""Lines of a capture, and the file that holds them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.capture import line_of, opened_output
from streams.offline.files import read_records


@dataclass
class Record:
    topic: str = "requests"
    partition: int = 3
    offset: int = 7
    timestamp: int = 1_767_225_600_000
    key: bytes | None = None
    value: bytes | None = b"{}"
    headers: Sequence[tuple[str, bytes]] = ()


def write_and_interrupt(output: BinaryIO) -> None:
    output.write(line_of(Record()))
    raise KeyboardInterrupt


def test_a_line_has_all_of_a_record() -> None:
    line = line_of(Record(key=b"\x00", headers=[("traceparent", b"00"), ("env", b"prod")]))
    assert line.endswith(b"}\n")
    assert json.loads(line) == {
        "topic": "requests",
        "partition": 3,
        "offset": 7,
        "timestamp": 1_767_225_600_000,
        "key_b64": "AA==",
        "headers": [["traceparent", "MDA="], ["env", "cHJvZA=="]],
        "value_b64": "e30=",
    }


@pytest.mark.parametrize(
    "name", ["Authorization", "x-api-key", "API_KEY", "cookie", "db.password", "session-id", "csrfToken"]
)
def test_headers_that_tell_a_secret_are_left_out(name: str) -> None:
    line = line_of(Record(headers=[(name, b"hunter2")]))
    assert json.loads(line)["headers"] == [[name, None]]
    assert b"aHVudGVyMg" not in line


@given(
    values=st.lists(st.none() | st.binary(max_size=20), min_size=1),
    suffix=st.sampled_from([".jsonl", ".jsonl.gz", ".jsonl.zst"]),
)
def test_what_was_captured_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, values: list[bytes | None], suffix: str
) -> None:
    path = tmp_path_factory.mktemp("capture") / f"taken{suffix}"
    with opened_output(path) as output:
        for offset, value in enumerate(values):
            output.write(line_of(Record(offset=offset, value=value)))
    ((topic, partition, records),) = read_records(path)
    assert (topic, partition, list(records.values)) == ("requests", 3, values)
    assert records.offsets.tolist() == list(range(len(values)))


def test_the_same_records_give_the_same_file(tmp_path: Path) -> None:
    for name in ("one.gz", "two.gz"):
        with opened_output(tmp_path / name) as output:
            output.write(line_of(Record()))
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()


def test_a_capture_that_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "taken.jsonl"
    path.write_text("before")
    with pytest.raises(TypeError), opened_output(path) as output:
        output.write("text, not bytes")  # type: ignore[arg-type]
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken.jsonl"]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_an_interrupted_capture_is_a_whole_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"taken{suffix}"
    with pytest.raises(KeyboardInterrupt), opened_output(path) as output:
        write_and_interrupt(output)
    assert [list(records.values) for _, _, records in read_records(path)] == [[b"{}"]]


def test_gzip_is_what_the_name_says(tmp_path: Path) -> None:
    with opened_output(tmp_path / "taken.jsonl.gz") as output:
        output.write(b"line\n")
    assert gzip.decompress((tmp_path / "taken.jsonl.gz").read_bytes()) == b"line\n"
