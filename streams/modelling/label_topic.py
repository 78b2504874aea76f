"""Labels on the topic `<app>-labels`, compacted by their keys."""

from __future__ import annotations

import base64

import orjson

from detectors.feedback.labels import Label, LabelError
from streams.config.models import Config
from streams.kafka.capture import CaptureError, Taken, capture_topic
from streams.kafka.client import client_arguments
from streams.kafka.compacted import TopicError, send_record
from streams.kafka.topics import Topics

__all__ = ["fetch_labels", "send_label"]


async def send_label(config: Config, label: Label) -> None:
    """Tell all workers. Raises TopicError."""
    await send_record(config, Topics(config.app).labels, label.key, label.to_bytes())


async def fetch_labels(config: Config) -> tuple[tuple[Label, ...], int]:
    """All labels of the topic, those replaced and removed among them, and how many records are none.

    Raises TopicError.
    """
    lines: list[bytes] = []
    try:
        await capture_topic(
            Topics(config.app).labels, client=client_arguments(config), write=lines.append, taken=Taken()
        )
    except CaptureError as error:
        raise TopicError(str(error)) from error
    labels, unreadable = [], 0
    for line in lines:
        value = orjson.loads(line)["value_b64"]
        if value is None:
            continue  # what was said of this key before is forgotten by the broker
        try:
            labels.append(Label.from_bytes(base64.b64decode(value)))
        except LabelError:
            unreadable += 1
    return tuple(labels), unreadable
