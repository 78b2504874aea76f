"""Labels and announcements on a real Kafka."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detectors.feedback.labels import current_labels
from models.registry.manifest import Announcement
from streams.cli import app
from streams.config.load import load_config
from streams.config.models import Config
from streams.kafka.capture import Taken, capture_topic
from streams.kafka.client import client_arguments
from streams.kafka.compacted import TopicError, announce, send_record
from streams.modelling.label_topic import fetch_labels
from tests.services.kafka import Broker
from tests.services.topics import unique_name


def configured(bootstrap: str, folder: Path) -> Path:
    path = folder / "streamgauge.yaml"
    broker = json.dumps({"bootstrap": [bootstrap], "partitions": 2})
    path.write_text(
        f"app: {unique_name()}\nbroker: {broker}\n"
        "sources: {s: {topic: t, format: json, time: {field: ts}}}\n"
    )
    return path


async def values(config: Config, topic: str) -> list[tuple[bytes, bytes]]:
    lines: list[bytes] = []
    await capture_topic(topic, client=client_arguments(config), write=lines.append, taken=Taken())
    records = map(json.loads, lines)
    return [(base64.b64decode(one["key_b64"]), base64.b64decode(one["value_b64"])) for one in records]


def test_labels_go_to_the_topic_and_are_listed(kafka: Broker, tmp_path: Path) -> None:
    config = configured(kafka.bootstrap, tmp_path)

    def label(*words: str) -> str:
        done = CliRunner().invoke(app, ["label", *words, "-c", str(config)])
        assert done.exit_code == 0, done.output
        return done.stdout

    for verdict in ("noise", "real"):
        label(verdict, "--series", "cart", "--from", "2026-11-25T10:00Z")
    listed = json.loads(label("--list", "--json"))
    assert [one["verdict"] for one in listed["labels"]] == ["real"]
    assert listed["detectors"]["traffic"]["precision"] == 1.0
    label("real", "--series", "cart", "--from", "2026-11-25T10:00Z", "--remove")
    assert json.loads(label("--list", "--json"))["labels"] == []


async def test_what_is_no_label_is_counted_and_left_out(kafka: Broker, tmp_path: Path) -> None:
    config: Config = load_config(configured(kafka.bootstrap, tmp_path))
    await send_record(config, f"{config.app}-labels", b"key", b"no label")
    labels, unreadable = await fetch_labels(config)
    assert (current_labels(labels), unreadable) == ((), 1)


async def test_announcements_have_one_key_for_each_role(kafka: Broker, tmp_path: Path) -> None:
    config = load_config(configured(kafka.bootstrap, tmp_path))
    said = Announcement(config.app, "traffic", "champion", "000001-0123456789ab", "ff", "s3://models", 5)
    await announce(config, said)
    ((key, value),) = await values(config, f"{config.app}-models")
    assert key == b"traffic/champion"
    assert Announcement.from_bytes(value) == said


async def test_a_broker_that_is_not_there_is_told(tmp_path: Path) -> None:
    config = load_config(configured("127.0.0.1:1", tmp_path))
    with pytest.raises(TopicError, match=r"labels at 127\.0\.0\.1:1 cannot be written"):
        await send_record(config, f"{config.app}-labels", b"key", b"value")
