"""An alert as Alertmanager's v2 API takes it, repaired or refused before it is sent.

Guarantee: what comes out passes Alertmanager's own validation, so that one bad label, which may stem from
an event, never keeps the others from arriving: names match `[a-zA-Z_][a-zA-Z0-9_]*`, values are UTF-8
and not empty, texts have a limit, the start is not after the end, and links are absolute URLs.

Source: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml and `Alert.Validate` in
github.com/prometheus/common, model/alert.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from detectors.alerts.alert import Alert
from detectors.alerts.names import label_names

LABEL_LENGTH_MAX = 1_024
"""Characters of a label's value; a longer one, a whole URL say, helps nobody to route or read an alert."""

ANNOTATION_LENGTH_MAX = 8_192
"""Characters of an annotation: notifiers cut at 4,000 or less, and a batch has to stay small."""


class RefusedAlertError(ValueError):
    """An alert that cannot be repaired; `reason` is a stable code for a counter."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class WireAlert:
    """One element of the body of `POST /api/v2/alerts`.

    repairs : what had to be repaired, in words; empty for most
    """

    body: Mapping[str, Any]
    repairs: tuple[str, ...] = ()


def wire_alert(alert: Alert, *, now_ms: int, ends_at_ms: int, generator_url: str = "") -> WireAlert:
    """Make an alert's body.

    ends_at_ms    : by the clock: in the past for a resolved alert, ahead for a firing one
    generator_url : link to where the alert comes from
    raises        : RefusedAlertError without a usable `alertname`
    """
    repairs: list[str] = []
    labels = _repaired(alert.labels, LABEL_LENGTH_MAX, "label", repairs)
    if not labels.get("alertname"):
        raise RefusedAlertError("no_alertname", f"alert {alert.fingerprint} has no label alertname")
    annotations = _repaired(alert.annotations, ANNOTATION_LENGTH_MAX, "annotation", repairs)
    # Event time may be ahead of the clock, and an alert that ends before it starts is rejected.
    starts_at_ms = min(alert.starts_at_ms, now_ms, ends_at_ms)
    body = {
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(starts_at_ms),
        "endsAt": rfc3339(ends_at_ms),
    }
    if generator_url:
        if _is_absolute(generator_url):
            body["generatorURL"] = generator_url
        else:
            repairs.append("generatorURL is no absolute http URL; left out")
    return WireAlert(body, tuple(repairs))


def rfc3339(at_ms: int) -> str:
    """A time in ms since 1970 as Alertmanager reads it.

    >>> rfc3339(1_700_000_000_250)
    '2023-11-14T22:13:20.250Z'
    """
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def _repaired(texts: Mapping[str, str], length_max: int, what: str, repairs: list[str]) -> dict[str, str]:
    result: dict[str, str] = {}
    for name, value, given in zip(label_names(list(texts)), texts.values(), texts, strict=True):
        text = value.encode("utf-8", "replace").decode()
        if len(text) > length_max:
            text = text[: length_max - 1] + "…"
        if name != given:
            repairs.append(f"{what} {given!r} renamed to {name}")
        if text != value:
            repairs.append(f"value of {what} {name} cut or made UTF-8")
        if text:
            result[name] = text
        else:
            # To Alertmanager an empty label is no label, and an empty annotation says nothing.
            repairs.append(f"{what} {name} is empty; left out")
    return result


def _is_absolute(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isascii() and " " not in url
