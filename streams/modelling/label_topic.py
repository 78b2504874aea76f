"""Labels on the topic `<app>-labels`, compacted by their keys."""

from __future__ import annotations

from detectors.feedback.labels import Label, LabelError
from streams.config.models import Config
from streams.kafka.client import client_arguments
from streams.kafka.compacted import send_record
from streams.kafka.topic_reader import read_topic
from streams.kafka.topics import Topics

__all__ = ["fetch_labels", "send_label"]


async def send_label(config: Config, label: Label) -> None:
    """Tell all workers. Raises TopicError."""
    await send_record(config, Topics(config.app).labels, label.key, label.to_bytes())


async def fetch_labels(config: Config) -> tuple[tuple[Label, ...], int]:
    """All labels of the topic, those replaced and removed among them, and how many records are none.

    Raises TopicError.
    """
    labels, unreadable = [], 0
    for record in await read_topic(client_arguments(config), Topics(config.app).labels):
        if record.value is None:
            continue  # what was said of this key before is forgotten by the broker
        try:
            labels.append(Label.from_bytes(record.value))
        except LabelError:
            unreadable += 1
    return tuple(labels), unreadable
