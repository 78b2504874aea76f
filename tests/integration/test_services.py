"""The peers themselves: what other tests rely on when they use the fixtures."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable

from tests.services.alertmanager import Alertmanager
from tests.services.http import get_text
from tests.services.kafka import Broker, KafkaBroker
from tests.services.prometheus import Prometheus, promtool_check_metrics, scrape_config
from tests.services.topics import unique_name


def test_records_come_back_as_they_were_sent(kafka: Broker) -> None:
    topic = kafka.create_topic(unique_name(), partitions=3)
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        assert kafka.produce(topic, [b"a", b"b"], partition=1, timestamp_ms=1_000, compression=codec) == 2
    records = kafka.read_all(topic)
    assert [(r.partition, r.offset, r.value, r.timestamp) for r in records] == [
        (1, offset, b"ab"[offset % 2 : offset % 2 + 1], 1_000) for offset in range(10)
    ]
    assert kafka.end_offsets(topic) == {0: 0, 1: 10, 2: 0}
    kafka.delete_records(topic, {1: 4})
    assert [r.offset for r in kafka.read_all(topic)] == [4, 5, 6, 7, 8, 9]
    kafka.delete_topic(topic)
    assert topic not in kafka.list_topics()


async def test_topics_can_be_made_within_a_running_loop(kafka: Broker) -> None:
    topic = kafka.create_topic(unique_name(), config={"cleanup.policy": "compact"})
    assert kafka.produce(topic, [b"1"], key=b"k") == 1


def test_a_killed_broker_comes_back_with_its_records() -> None:
    # The controller takes the broker back once the killed one's session is over: 9 s unless told.
    with KafkaBroker(settings={"broker.session.timeout.ms": "3000"}) as broker:
        topic = broker.create_topic(unique_name())
        broker.produce(topic, [b"kept"])
        broker.kill()
        assert not broker.answers()
        broker.start()
        assert [record.value for record in broker.read_all(topic)] == [b"kept"]
        folder = broker.folder
    assert not broker.answers()
    assert not folder.exists()


def test_prometheus_scrapes_and_alertmanager_notifies(
    prometheus_factory: Callable[..., Prometheus], alertmanager: Alertmanager
) -> None:
    alert = json.dumps([{"labels": {"alertname": "Trial"}}]).encode()
    post = urllib.request.Request(
        f"{alertmanager.url}/api/v2/alerts", data=alert, headers={"Content-Type": "application/json"}
    )
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(post, timeout=10).close()
    alertmanager.wait_for("Trial")
    alertmanager.webhook.wait_for("Trial", "firing")
    prometheus = prometheus_factory(scrape_config(alertmanager.url.removeprefix("http://")))
    prometheus.wait_for('alertmanager_alerts{state="active"} == 1')
    assert prometheus.value("up") == 1
    assert promtool_check_metrics(get_text(f"{alertmanager.url}/metrics")) == []
    assert promtool_check_metrics("# TYPE requests counter\nrequests 1\n") != []
    assert len(alertmanager.webhook.alerts("Trial")) == 1
