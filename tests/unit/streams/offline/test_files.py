"""Lines and captures become records, however they are packed and cut into chunks."""

from __future__ import annotations

import base64
import gzip
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from streams.offline.files import RecordsFileError, read_records, size_bytes

PACKINGS = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


def collected(path: Path, chunk: int) -> dict[tuple[str | None, int], list[tuple[int, int, bytes | None]]]:
    """Everything read, by topic and partition, as (offset, timestamp, value)."""
    found: dict[tuple[str | None, int], list[tuple[int, int, bytes | None]]] = {}
    for topic, partition, records in read_records(path, chunk=chunk):
        rows = zip(records.offsets.tolist(), records.timestamps_ms.tolist(), records.values, strict=True)
        found.setdefault((topic, partition), []).extend(rows)
    return found


def captured(partition: int, offset: int, value: bytes | None, **more: object) -> str:
    text = None if value is None else base64.b64encode(value).decode()
    return json.dumps(
        {"partition": partition, "offset": offset, "timestamp": 7 * offset, "value_b64": text, **more}
    )


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_each_line_is_a_record_and_its_number_the_offset(tmp_path: Path, packing: str, chunk: int) -> None:
    path = tmp_path / "lines"
    path.write_bytes(PACKINGS[packing](b"one\r\n\ntwo \xff\nlast"))
    assert collected(path, chunk) == {
        (None, 0): [(0, -1, b"one"), (1, -1, b""), (2, -1, b"two \xff"), (3, -1, b"last")]
    }


@given(
    lines=st.lists(st.binary(max_size=8).filter(lambda line: b"\n" not in line and not line.endswith(b"\r"))),
    chunk=st.integers(1, 5),
    packing=st.sampled_from(sorted(PACKINGS)),
)
def test_any_lines_come_back(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], chunk: int, packing: str
) -> None:
    path = tmp_path_factory.mktemp("files") / "lines"
    text = b"".join(line + b"\n" for line in lines)
    if text.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xef\xbb\xbf")) and packing == "plain":
        text = b"x" + text
        lines = [b"x" + lines[0], *lines[1:]]
    path.write_bytes(PACKINGS[packing](text))
    rows = collected(path, chunk).get((None, 0), [])
    assert [value for _, _, value in rows] == lines
    assert [offset for offset, _, _ in rows] == list(range(len(lines)))


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"\xef\xbb\xbffirst\n\xef\xbb\xbfsecond\n")
    assert [row[2] for row in collected(path, 9)[None, 0]] == [b"first", b"\xef\xbb\xbfsecond"]


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(b"")
    assert list(read_records(path)) == []


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_a_capture_keeps_partitions_offsets_timestamps_and_tombstones(
    tmp_path: Path, packing: str, chunk: int
) -> None:
    path = tmp_path / "capture"
    lines = [
        captured(1, 5, b"a", topic="t", key_b64="AA==", headers=[["h", "AA=="]]),
        captured(0, 2, None, topic="t"),
        captured(1, 9, b"", topic="t"),
        captured(0, 3, b"\x00\xff", topic="t"),
    ]
    path.write_bytes(PACKINGS[packing]("\n".join(lines).encode()))
    assert collected(path, chunk) == {
        ("t", 1): [(5, 35, b"a"), (9, 63, b"")],
        ("t", 0): [(2, 14, None), (3, 21, b"\x00\xff")],
    }


def test_a_capture_may_leave_out_the_topic(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_text(captured(0, 0, b"a") + "\n")
    assert list(collected(path, 9)) == [(None, 0)]


def test_an_event_with_some_of_a_captures_fields_is_no_capture(tmp_path: Path) -> None:
    path = tmp_path / "events"
    line = b'{"partition": 0, "offset": 1, "value_b64": "AA=="}'
    path.write_bytes(line)
    assert collected(path, 9) == {(None, 0): [(0, -1, line)]}


def test_a_broken_line_of_a_capture_is_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_text(captured(0, 0, b"a") + "\n\n" + captured(0, 1, b"b") + '\n{"partition": "x"}\n')
    with pytest.raises(RecordsFileError, match=r"capture:4: expected a captured record .* found"):
        list(read_records(path, chunk=3))


@pytest.mark.parametrize("chunk", [1, 100])
def test_offsets_that_step_back_are_refused(tmp_path: Path, chunk: int) -> None:
    path = tmp_path / "capture"
    path.write_text("\n".join([captured(0, 4, b"a"), captured(1, 1, b"b"), captured(0, 4, b"c")]))
    with pytest.raises(RecordsFileError, match="ascending offsets in partition 0, found 4 after 4"):
        list(read_records(path, chunk=chunk))


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_a_cut_file_is_refused(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "cut"
    text = b"".join(b"%d\n" % number for number in range(50_000))
    path.write_bytes(PACKINGS[packing](text)[:-9])
    with pytest.raises(RecordsFileError, match="cut: expected a whole file, found a damaged or cut one"):
        list(read_records(path))


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_files_that_were_joined_after_packing_are_read_to_their_end(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "joined"
    path.write_bytes(PACKINGS[packing](b"one\n") + PACKINGS[packing](b"two\n"))
    assert [row[2] for row in collected(path, 9)[None, 0]] == [b"one", b"two"]


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsFileError, match="nothing: cannot be read"):
        list(read_records(tmp_path / "nothing"))
    with pytest.raises(RecordsFileError, match="cannot be read"):
        list(read_records(tmp_path))


@pytest.mark.parametrize("packing", PACKINGS)
def test_standard_input_is_unpacked_as_well(packing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = PACKINGS[packing](b"one\ntwo\n")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    ((topic, partition, records),) = read_records("-")
    assert (topic, partition, list(records.values)) == (None, 0, [b"one", b"two"])
    assert size_bytes("-") is None


def test_progress_ends_at_the_size_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lines.gz"
    rng = np.random.default_rng(1)
    path.write_bytes(gzip.compress(b"\n".join(rng.bytes(40).hex().encode() for _ in range(9_000))))
    seen: list[int] = []
    for _ in read_records(path, chunk=1_000, progress=seen.append):
        pass
    assert seen == sorted(seen)
    assert seen[-1] == size_bytes(path) == path.stat().st_size
