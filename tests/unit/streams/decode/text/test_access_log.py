"""Format `access_log`: real logs of nginx and Apache, and every shape of a line."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.decode.text.access_line import unescape
from streams.events.batch import Field, Kind
from tests.unit.decoding import ARRIVED_MS, columns, decode, reasons

WANTED: dict[str, Kind] = {
    "client": "string",
    "user": "string",
    "method": "string",
    "path": "string",
    "query": "string",
    "protocol": "string",
    "status": "number",
    "bytes": "number",
    "referrer": "string",
    "agent": "string",
    "duration": "number",
    "upstream_duration": "number",
    "host": "string",
}
TIME = "[17/May/2015:10:05:03 +0000]"
TIME_MS = 1_431_857_103_000
LINE = f'192.0.2.1 - - {TIME} "GET /a/b?c=d&e HTTP/1.1" 200 512 "https://example.org/" "curl/8.0"'
PARTS = {
    "client": "192.0.2.1",
    "user": None,
    "method": "GET",
    "path": "/a/b",
    "query": "c=d&e",
    "protocol": "HTTP/1.1",
    "status": 200.0,
    "bytes": 512.0,
    "referrer": "https://example.org/",
    "agent": "curl/8.0",
    "duration": None,
    "upstream_duration": None,
    "host": None,
}
COMMON = LINE.partition(' "https')[0]


def event_of(line: str | bytes) -> dict[str, object]:
    """The only event of a line, which must give the same alone and among others."""
    alone = decode("access_log", [line], WANTED)
    assert reasons(alone) == []
    among = decode("access_log", [LINE, line, COMMON], WANTED)
    event = {name: values[0] for name, values in columns(alone).items()}
    assert {name: values[1] for name, values in columns(among).items()} == event
    assert alone.time_ms[0] == among.time_ms[1]
    return event


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        (LINE, {}),
        (LINE + "\r", {}),
        (LINE + "\n", {}),
        (COMMON, {"referrer": None, "agent": None}),
        (LINE + " 0.250", {"duration": 0.25}),
        (LINE + " 0.250 0.125", {"duration": 0.25, "upstream_duration": 0.125}),
        (LINE + " 0.250 -", {"duration": 0.25}),
        (LINE + " 1500", {"duration": 0.0015}),
        (LINE + ' "-" 1500', {"duration": 0.0015}),
        (COMMON + " 0.250", {"referrer": None, "agent": None, "duration": 0.25}),
        (
            LINE + ' "10.0.0.1" rt=0.250 uct="0.001" urt="0.125"',
            {"duration": 0.25, "upstream_duration": 0.125},
        ),
        (LINE + ' rt=0.250 urt="0.125, 0.250 : 0.5"', {"duration": 0.25, "upstream_duration": 0.875}),
        (LINE + ' urt="-" rt=2', {"duration": 2.0}),
        (LINE + " request_time=12ms host=a.example", {"duration": 0.012, "host": "a.example"}),
        ("shop.example:443 " + LINE, {"host": "shop.example:443"}),
        (LINE.replace("192.0.2.1 - -", "2001:db8::27 - ann"), {"client": "2001:db8::27", "user": "ann"}),
        (LINE.replace("- - [", "- John Smith ["), {"user": "John Smith"}),
        (LINE.replace(TIME, "[2015-05-17T10:05:03+00:00]"), {}),
        (LINE.replace(TIME, "[2015-05-17T10:05:03Z]"), {}),
        (LINE.replace("200 512", "304 -"), {"status": 304.0, "bytes": 0.0}),
        (LINE.replace(" HTTP/1.1", ""), {"protocol": None}),
        (
            LINE.replace("GET /a/b?c=d&e", "CONNECT a.example:443"),
            {
                "method": "CONNECT",
                "path": "a.example:443",
                "query": None,
            },
        ),
        (LINE.replace("curl/8.0", r"a \x22b\x22 \"c\" \\d \xD0\xB0"), {"agent": 'a "b" "c" \\d а'}),
        (LINE.replace("/a/b?c", '/a"b?c'), {"path": '/a"b'}),
        (LINE.replace("/a/b", "/a b"), {"path": "/a b"}),
        (
            LINE.replace("https://example.org/", "-").replace("curl/8.0", ""),
            {"referrer": None, "agent": None},
        ),
        (f'"{LINE}"', {}),
        ('"' + LINE.replace('"', '""') + '"', {}),
        (json.dumps(LINE), {}),
        (LINE.encode().replace(b"curl", b"\xff\xfe"), {"agent": "\ufffd\ufffd/8.0"}),
    ],
)
def test_a_line_gives_its_parts(line: str | bytes, changes: dict[str, object]) -> None:
    assert event_of(line) == PARTS | changes


@pytest.mark.parametrize(
    "request_line", [r"\x16\x03\x01\x02\x00", "-", "", "\\n", "quit", "abc def", "\x16\x03"]
)
def test_garbage_instead_of_a_request_is_an_event_without_method_and_path(request_line: str) -> None:
    event = event_of(f'192.0.2.1 - - {TIME} "{request_line}" 400 226 "-" "-"')
    assert event["status"] == 400.0
    assert event["method"] is event["path"] is event["query"] is event["protocol"] is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        " ",
        "hello",
        '"plain, no trace"',
        "[Sun Dec 04 04:47:44 2005] [error] mod_jk child workerEnv in error state 6",
        LINE.replace("200 512", "2000 512"),
        LINE.replace("200 512", "200 x"),
        LINE.replace(TIME, ""),
        "\x00" * 100,
        '[a] "' * 5000,
    ],
)
def test_what_is_no_log_line_is_dead(line: str) -> None:
    batch = decode("access_log", [LINE, line, LINE], WANTED)
    assert reasons(batch) == [(1, "not_a_log_line")]
    assert batch.record.tolist() == [0, 2]


def test_a_line_with_another_time_is_dead() -> None:
    batch = decode("access_log", [LINE, LINE.replace("May", "Foo"), LINE.replace(TIME, "[noon]")], WANTED)
    assert reasons(batch) == [(1, "bad_time"), (2, "bad_time")]
    assert batch.time_ms.tolist() == [TIME_MS]


def test_a_record_may_hold_several_lines() -> None:
    batch = decode("access_log", [f"{LINE}\n{COMMON}\n", "\n", None, LINE], WANTED)
    assert batch.record.tolist() == [0, 0, 3]
    assert reasons(batch) == [(1, "not_a_log_line")]
    assert batch.skipped == 1


def test_a_declared_unit_ends_guessing() -> None:
    fields = {"duration": Field("duration", 0.001)}
    batch = decode("access_log", [LINE + " 1500", LINE + " 0.5"], {"duration": "number"}, fields)
    assert columns(batch)["duration"] == [1.5, 0.0005]


def test_columns_can_be_renamed_and_used_otherwise() -> None:
    fields = {"code": Field("status"), "verb": Field("method")}
    batch = decode("access_log", [LINE], {"code": "string", "verb": "string", "nothing": "number"}, fields)
    assert columns(batch) == {"code": ["200"], "verb": ["GET"], "nothing": [None]}


def test_the_records_own_time_can_be_asked_for() -> None:
    assert decode("access_log", [LINE], {}, time_format="record").time_ms.tolist() == [ARRIVED_MS]


JSON_LINE = {
    "time_local": "17/May/2015:10:05:03 +0000",
    "remote_addr": "192.0.2.1",
    "remote_user": "-",
    "request": "GET /a/b?c=d&e HTTP/1.1",
    "status": "200",
    "body_bytes_sent": "512",
    "request_time": "0.250",
    "upstream_response_time": "0.125, 0.5",
    "http_referer": "https://example.org/",
    "http_user_agent": "curl/8.0",
    "host": "",
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "request": None,
            "request_method": "GET",
            "request_uri": "/a/b?c=d&e",
            "server_protocol": "HTTP/1.1",
        },
        {"request": None, "method": "GET", "uri": "/a/b", "args": "c=d&e", "protocol": "HTTP/1.1"},
        {"status": 200, "body_bytes_sent": None, "bytes_sent": 512, "request_time": 0.25},
        {"time_local": None, "msec": 1431857103.0, "time": "2015-05-17T00:00:00Z"},
        {"time_local": None, "time_iso8601": "2015-05-17T10:05:03+00:00"},
        {"http_referer": None, "referer": "https://example.org/", "http_user_agent": None, "ua": "curl/8.0"},
    ],
)
def test_a_json_line_gives_the_same_parts(changes: dict[str, object]) -> None:
    line = {key: value for key, value in (JSON_LINE | changes).items() if value is not None}
    expected = PARTS | {"duration": 0.25, "upstream_duration": 0.625}
    assert event_of(json.dumps(line)) == expected
    assert decode("access_log", [json.dumps(line)], WANTED).time_ms.tolist() == [TIME_MS]


def test_json_lines_that_nginx_escaped_its_own_way_are_read() -> None:
    line = json.dumps(JSON_LINE).replace("curl/8.0", r"a \x22b\x22 \\x41 \xD0\xB0 \x5C")
    assert event_of(line)["agent"] == 'a "b" \\x41 а \\'


def test_json_lines_keep_their_other_keys() -> None:
    line = json.dumps(JSON_LINE | {"tls": {"version": "1.3"}})
    assert columns(decode("access_log", [line, LINE], {"tls.version": "string"}))["tls.version"] == [
        "1.3",
        None,
    ]


@pytest.mark.parametrize("name", ["combined", "timed", "upstream", "json"])
def test_real_nginx_logs_give_the_true_counts(data_dir: Path, name: str) -> None:
    truth = json.loads((data_dir / "wire" / "nginx.truth.json").read_text())
    lines = gzip.decompress((data_dir / "wire" / f"nginx-{name}.log.gz").read_bytes()).splitlines()
    batch = decode("access_log", lines, WANTED)
    found = columns(batch)
    assert len(batch) == truth["lines"]
    assert reasons(batch) == []
    assert {str(int(status)): count for status, count in Counter(found["status"]).items()} == truth["status"]
    assert all((value is not None) == (name != "combined") for value in found["duration"])
    assert (found["upstream_duration"].count(None) < len(batch)) == (name in ("upstream", "json"))


def test_real_nginx_formats_agree_on_what_they_share(data_dir: Path) -> None:
    shared = ("client", "method", "path", "status", "bytes", "agent", "referrer")
    found = {}
    for name in ("combined", "timed", "upstream", "json"):
        lines = gzip.decompress((data_dir / "wire" / f"nginx-{name}.log.gz").read_bytes()).splitlines()
        found[name] = {key: columns(decode("access_log", lines, WANTED))[key] for key in shared}
    assert found["timed"] == found["combined"]
    assert found["upstream"] == found["combined"]
    assert found["json"] == found["combined"]


def test_all_lines_of_real_apache_logs_are_events(data_dir: Path) -> None:
    paths = [
        data_dir / "access_logs" / "apache_logs.log.gz",
        *(data_dir / "access_logs" / "honeynet").glob("*.gz"),
    ]
    assert len(paths) > 10
    for path in (*paths, data_dir / "scans" / "acunetix.txt.gz"):
        lines = gzip.decompress(path.read_bytes()).removesuffix(b"\n").split(b"\n")
        batch = decode("access_log", lines, WANTED)
        assert reasons(batch) == [], path
        assert batch.record.tolist() == list(range(len(lines)))
        assert columns(batch)["status"] == list(map(status_of, lines))


def status_of(line: bytes) -> float:
    """The status, found from the right end of a combined line."""
    before_referrer = line.strip(b'"\r').rsplit(b'" "', 1)[0].rsplit(b' "', 1)[0]
    return float(before_referrer.rsplit(b" ", 2)[1])


texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters='"\\\u2028\u2029'), max_size=12
)


def nginx_escape(text: str) -> str:
    """As nginx writes a variable: quotes, backslashes and all beyond ASCII as `\\xHH`."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02X}" for byte in text.encode()
    )


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_escaping_is_undone(text: str) -> None:
    assert unescape(nginx_escape(text)) == text


@given(
    st.lists(st.tuples(texts, texts, st.integers(100, 599), st.integers(0, 10**9)), min_size=1, max_size=20)
)
def test_what_is_written_is_read(events: list[tuple[str, str, int, int]]) -> None:
    lines = [
        f'::1 - - {TIME} "GET /{nginx_escape(path)} HTTP/1.1" {status} {size} "-" "{nginx_escape(agent)}"'
        for path, agent, status, size in events
    ]
    found = columns(decode("access_log", lines, WANTED))
    for row, (path, agent, status, size) in enumerate(events):
        target = f"/{path}".rstrip(" ")
        assert found["path"][row] == target.partition("?")[0]
        assert found["agent"][row] == (None if agent in ("", "-") else agent)
        assert (found["status"][row], found["bytes"][row]) == (status, size)
