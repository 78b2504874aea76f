"""What is sent to Alertmanager passes its rules, whatever the labels of events were."""

from __future__ import annotations

import json
import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.alerts.alert import Alert
from streams.publish.sinks.wire_alert import (
    ANNOTATION_LENGTH_MAX,
    LABEL_LENGTH_MAX,
    RefusedAlertError,
    rfc3339,
    wire_alert,
)

NOW_MS = 1_700_000_000_000
NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def alert(labels: dict[str, str], annotations: dict[str, str] | None = None, starts_at_ms: int = 0) -> Alert:
    return Alert("f" * 16, "firing", labels, annotations or {}, starts_at_ms)


texts = st.dictionaries(st.text(max_size=8), st.text(st.characters(), max_size=12), max_size=6)


@given(texts, texts, st.integers(0, 2 * NOW_MS), st.integers(0, 2 * NOW_MS), st.text(max_size=20))
def test_anything_becomes_valid(
    labels: dict[str, str], annotations: dict[str, str], starts_at_ms: int, ends_at_ms: int, url: str
) -> None:
    made = wire_alert(
        alert({**labels, "alertname": "Burn"}, annotations, starts_at_ms),
        now_ms=NOW_MS,
        ends_at_ms=ends_at_ms,
        generator_url=url,
    )
    body = json.loads(json.dumps(made.body).encode("utf-8"))
    for part in ("labels", "annotations"):
        for name, value in body[part].items():
            assert NAME.fullmatch(name)
            assert value
            value.encode("utf-8")
    assert body["labels"]["alertname"] == "Burn"
    starts, ends = (datetime.fromisoformat(body[key]) for key in ("startsAt", "endsAt"))
    assert starts <= ends


def test_a_good_alert_is_sent_as_it_is() -> None:
    labels, annotations = {"alertname": "Burn", "route": "/\u00fc"}, {"summary": "It burns"}
    made = wire_alert(
        alert(labels, annotations, NOW_MS - 250),
        now_ms=NOW_MS,
        ends_at_ms=NOW_MS + 1,
        generator_url="https://example.org/slo?name=a",
    )
    assert made.repairs == ()
    assert made.body == {
        "labels": labels,
        "annotations": annotations,
        "startsAt": "2023-11-14T22:13:19.750Z",
        "endsAt": "2023-11-14T22:13:20.001Z",
        "generatorURL": "https://example.org/slo?name=a",
    }


def test_repairs_are_told_and_no_two_labels_become_one() -> None:
    made = wire_alert(
        alert({"alertname": "Burn", "http.route": "/a", "http_route": "/b", "x": "", "y": "\ud800"}),
        now_ms=NOW_MS,
        ends_at_ms=NOW_MS,
        generator_url="no url",
    )
    assert made.body["labels"] == {"alertname": "Burn", "http_route": "/a", "http_route_2": "/b", "y": "?"}
    assert made.repairs == (
        "label 'http.route' renamed to http_route",
        "label 'http_route' renamed to http_route_2",
        "label x is empty; left out",
        "value of label y cut or made UTF-8",
        "generatorURL is no absolute http URL; left out",
    )


def test_long_texts_are_cut() -> None:
    made = wire_alert(
        alert({"alertname": "a" * 5000}, {"description": "b" * 50_000}), now_ms=NOW_MS, ends_at_ms=NOW_MS
    )
    assert len(made.body["labels"]["alertname"]) == LABEL_LENGTH_MAX
    assert len(made.body["annotations"]["description"]) == ANNOTATION_LENGTH_MAX


@pytest.mark.parametrize("labels", [{}, {"alertname": ""}, {"severity": "page"}])
def test_an_alert_without_a_name_is_refused(labels: dict[str, str]) -> None:
    with pytest.raises(RefusedAlertError, match="alert ffffffffffffffff has no label alertname") as error:
        wire_alert(alert(labels), now_ms=NOW_MS, ends_at_ms=NOW_MS)
    assert error.value.reason == "no_alertname"


@given(st.integers(0, 4_000_000_000_000))
def test_times_keep_their_milliseconds(at_ms: int) -> None:
    assert round(datetime.fromisoformat(rfc3339(at_ms)).timestamp() * 1000) == at_ms
