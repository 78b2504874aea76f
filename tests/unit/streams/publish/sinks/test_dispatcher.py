"""A sink that fails disturbs neither the worker nor the other sinks, and is run again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from detectors.alerts.alert import Alert
from streams.config.sinks import installed_sinks, settings_model
from streams.publish.sinks.dispatcher import AlertDispatcher
from tests.services.process import wait_until
from tests.services.webhook import Webhook

FRAIL = '''
from collections import Counter

from streams.publish.sinks.sink import Sink


class FrailSink(Sink):
    """Fails whatever it is asked, and the first time it runs."""

    Settings = dict

    def __init__(self, settings, *, page_url):
        self.outcomes = Counter()

    def take(self, alert):
        raise RuntimeError("take")

    def take_over(self, alerts):
        raise RuntimeError("take over")

    def forget(self):
        raise RuntimeError("forget")

    async def run(self):
        self.outcomes["runs"] += 1
        if self.outcomes["runs"] == 1:
            raise RuntimeError("run")

    async def drain(self, timeout_s):
        raise RuntimeError("drain")
'''


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    hook = Webhook()
    hook.start()
    yield hook
    hook.close()


async def test_a_sink_that_fails_disturbs_nobody_and_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, webhook: Webhook
) -> None:
    metadata = tmp_path / "frail-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: frail\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[streamgauge.sinks]\na_frail = frail_sink:FrailSink\n")
    (tmp_path / "frail_sink.py").write_text(FRAIL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("streams.publish.sinks.dispatcher.RESTART_S", 0.01)
    model = settings_model(installed_sinks().values())
    config = model.model_validate({"a_frail": {"any": 1}, "alertmanager": {"url": webhook.url}})
    dispatcher = AlertDispatcher(config, page_url="http://localhost")
    dispatcher.open()
    alert = Alert("ab" * 8, "firing", {"alertname": "Burn"}, {}, 1_000)
    dispatcher.take_over([alert])
    dispatcher.forget()
    dispatcher.take(alert)
    await asyncio.to_thread(
        wait_until,
        lambda: dispatcher.outcomes().get(("a_frail", "runs"), 0) > 1,
        timeout_s=30,
        what="a second run",
    )
    await dispatcher.close()
    assert [each["labels"]["alertname"] for body in webhook.posts for each in body] == ["Burn"]
    told = {str(record.exc_info[1]) for record in caplog.records if record.exc_info and record.exc_info[1]}
    assert told == {"take", "take over", "forget", "run", "drain"}
