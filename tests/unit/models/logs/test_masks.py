"""Masks: what varies becomes a wildcard, and nothing but the line itself decides what it becomes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.logs import masks as log_masks
from models.logs.masks import LINE_LENGTH_MAX, SIGNATURE_LENGTH_MAX, LogMasks


def signature(line):
    return LogMasks().signatures([line])[0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("took 12.5ms for 3 of 10 KB", "took <*> for <*> of <*>"),
        ("lifetime <1 sec", "lifetime <*>"),
        ("1301 bytes (1.27 KB) sent, 434 bytes received", "<*> sent, <*> received"),
        ("sent 3 parts (of 7) in 5 s", "sent <*> parts (of <*>) in <*>"),
        ("iar 003a90fc dear 0x00b360e8", "iar <*> dear <*>"),
        ("from 10.0.0.1:8080 to fe80::1", "from <*> to <*>"),
        ("mac 00:1b:44:11:3a:b7 up", "mac <*> up"),
        ("id 550e8400-e29b-41d4-a716-446655440000 gone", "id <*> gone"),
        ("open /var/log/a.log: denied", "open <*>: denied"),
        (r"open C:\Windows\a.dll failed", "open <*> failed"),
        ("GET https://example.com/a?b=c done", "GET <*> done"),
        ("mail to ann@example.com bounced", "mail to <*> bounced"),
        ("reverse lookup of host.example.com failed", "reverse lookup of <*> failed"),
        ("java.io.IOException: reset", "java.io.IOException: reset"),
        ("Sat Jun 11 03:28:22 2005 started", "<*> started"),
        ("2024-01-02T10:20:30.123Z started", "<*>T<*>Z started"),
        ("packet blk_-123 of blk_456", "packet blk_<*> of blk_<*>"),
        ("deleted blk_1 blk_-2 blk_3", "deleted blk_<*>"),
        ("speeds ( 3552 3534 3375 )", "speeds ( <*> )"),
        ("logname= uid=0 user=ann", "logname=<*> uid=<*> user=<*>"),
        ('level=info msg="Started server" port=80', 'level=info msg="Started server" port=<*>'),
        ('{"event": "login", "user": "ann", "n": 3}', '{"event": "login", "user": "<*>", "n": <*>}'),
        ("Failed login for invalid user ann from", "Failed login for invalid user <*> from"),
        ("Accepted key for root from 10.0.0.1", "Accepted key for <*> from <*>"),
        ("user deleted", "user deleted"),
        ("jk2_init() found child 6725", "jk<*>_init() found child <*>"),
        ("connection () at 5", "connection (<*>) at <*>"),
        ("ready: true", "ready: <*>"),
        ("is_true of 8 colours", "is_true of <*> colours"),
        ("\x1b[31merror\x1b[0m  5\tat", "error <*> at"),
        ("\n first line 1\n second line", "first line <*>"),
        ("ZÜRICH 5 °C", "ZÜRICH <*> °C"),
        ("", ""),
    ],
)
def test_masks_what_varies_and_keeps_what_the_program_wrote(line, expected):
    assert signature(line) == expected


def test_cuts_long_lines_and_long_signatures_between_words():
    line = "word " * LINE_LENGTH_MAX
    assert signature(line) == signature(line[:LINE_LENGTH_MAX])
    assert signature(line) == ("word " * (SIGNATURE_LENGTH_MAX // 5)).strip()
    assert len(signature("é" * 3 * LINE_LENGTH_MAX)) == SIGNATURE_LENGTH_MAX


WORDS = """user for session opened by failed from port at jk2_init() error: Foo.bar com.example.Service
    [main] (ok) 'Active' state=open <unknown> - -> | = a::b C*"""
PARAMETERS = """1 -5 +3.25 0x1f 003a90fc deadbeef 10.0.0.1 10.0.0.1:80 fe80::1 2024-01-02 10:20:30.5 ./run
    /var/log/x.log C:\\a\\b http://h/x?y=1 a@b.com www.example.com host-7 blk_-71 user=ann true pid=7 a={b}
    null 5ms 12% () 550e8400-e29b-41d4-a716-446655440000"""
OF_SEVERAL_WORDS = ["Jan 3 10:20:30", "x=(1, 2)", "<1 sec", "3.5 KB", '{"user": "ann"}']
TOKENS = st.tuples(
    st.sampled_from(WORDS.split() + PARAMETERS.split() + OF_SEVERAL_WORDS),
    st.sampled_from(["", "", ",", ";", ":", ".", ")"]),
).map("".join)
LINES = st.lists(TOKENS, max_size=8).map(" ".join)


@given(LINES)
@settings(max_examples=300)
def test_the_signature_of_a_signature_is_itself(line):
    assert signature(signature(line)) == signature(line)


@given(st.lists(st.one_of(LINES, st.text(max_size=30)), max_size=8), st.integers(0, 8))
@settings(max_examples=300)
def test_a_signature_depends_on_nothing_but_its_line(lines, cut):
    alone = [signature(line) for line in lines]
    masks = LogMasks()
    assert masks.signatures(lines) == alone
    assert masks.signatures(lines[cut:]) == alone[cut:]


@given(st.integers(0, 10**12), st.integers(1, 255), st.uuids(), st.floats(0, 1e6))
@settings(max_examples=100)
def test_a_signature_does_not_depend_on_the_values_of_parameters(number, part, uuid, ratio):
    line = f"job {uuid} of 10.{part}.0.{part}:{number} took {ratio:.3f} ms, size={number}, at 0x{number:x}"
    assert signature(line) == "job <*> of <*> took <*>, size=<*>, at <*>"


def test_forgetting_shapes_changes_no_signature(monkeypatch):
    monkeypatch.setattr(log_masks, "KNOWN_COUNT_MAX", 3)
    lines = [f"event {word} {number}" for number in range(5) for word in ("a", "b", "c", "d")]
    masks = LogMasks()
    assert [masks.signatures([line])[0] for line in lines] == [line[:-1] + "<*>" for line in lines]
