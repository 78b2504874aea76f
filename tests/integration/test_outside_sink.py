"""A sink of somebody else: one file outside the package and one line, as CONTRIBUTING tells it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from tests.integration.test_worker import BURN, MINUTE, configuration, every_second, source
from tests.services.kafka import Broker
from tests.services.process import wait_until
from tests.services.webhook import Webhook
from tests.services.worker import ROOT, WorkerProcess

PAGER = '''
"""Alerts to a pager, the latest state of each, one post for one alert."""

import asyncio
from collections import Counter

import aiohttp
from pydantic import SecretStr

from streams.config.values import WebAddress
from streams.language.yaml.validation import Model
from streams.publish.sinks.sink import Sink

ALERTS_MAX = 1_000


class PagerSettings(Model):
    url: WebAddress
    token: SecretStr


class PagerSink(Sink):
    Settings = PagerSettings

    def __init__(self, settings, *, page_url):
        self._settings, self._page_url = settings, page_url
        self._waiting = {}
        self._work, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self.outcomes = Counter()

    def take(self, alert):
        if alert.state not in ("firing", "resolved"):
            return
        if len(self._waiting) >= ALERTS_MAX and alert.fingerprint not in self._waiting:
            self.outcomes["dropped"] += 1
            return
        self._waiting[alert.fingerprint] = alert
        self._idle.clear()
        self._work.set()

    def take_over(self, alerts):
        """People were told of them."""

    def forget(self):
        """Nothing is repeated."""

    async def run(self):
        async with aiohttp.ClientSession() as session:
            while True:
                if not self._waiting:
                    self._idle.set()
                    self._work.clear()
                    await self._work.wait()
                fingerprint = next(iter(self._waiting))
                alert = self._waiting.pop(fingerprint)
                self.outcomes[await self._post(session, alert)] += 1

    async def _post(self, session, alert):
        body = {
            "alert": alert.labels.get("alertname"),
            "state": alert.state,
            "link": self._page_url,
            "token": self._settings.token.get_secret_value(),
        }
        try:
            async with session.post(self._settings.url, json=body) as answer:
                return "sent" if answer.status < 300 else "failed"
        except (aiohttp.ClientError, OSError):
            return "failed"

    async def drain(self, timeout_s):
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True
'''


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """What `pip install` makes of a package with one module and one entry point."""
    folder = tmp_path / "site"
    metadata = folder / "acme_pager-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "acme_pager.py").write_text(PAGER)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-pager\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[streamgauge.sinks]\npager = acme_pager:PagerSink\n")
    return folder


@pytest.fixture
def receiver() -> Iterator[Webhook]:
    hook = Webhook()
    hook.start()
    yield hook
    hook.close()


def run(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(installed)]),
        "TOKEN": "sekret",
    }
    command = [sys.executable, "-m", "streams.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)


def test_its_settings_are_checked_and_drawn_like_any_other(installed: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    text = """
        sources: {requests: {topic: requests, format: json, time: {field: ts}}}
        detectors: {traffic: [{source: requests}]}
        sinks:
          pager: {url: PAGER_URL, token: "${TOKEN}"}
    """
    config.write_text(dedent(text).lstrip().replace("PAGER_URL", "http://127.0.0.1:1/"))
    assert run(installed, "check", str(config)).returncode == 0
    assert '["pager"]' in run(installed, "graph", "-c", str(config)).stdout
    config.write_text(dedent(text).lstrip().replace("PAGER_URL", "127.0.0.1").replace("token", "tokn"))
    done = run(installed, "check", str(config))
    assert done.returncode == 1
    assert set(done.stdout.splitlines()[:3]) == {
        f'{config}:4: sinks.pager.url: expected an address such as http://127.0.0.1:9093, found "127.0.0.1"',
        f"{config}:4: sinks.pager.token: expected a value, found nothing; add token: under this line",
        f"{config}:4: sinks.pager.tokn: expected a known key, found tokn; did you mean token?",
    }
    config.write_text(dedent(text).lstrip().replace("pager:", "pagr:"))
    assert "found pagr; did you mean pager?" in run(installed, "check", str(config)).stdout


def test_it_delivers_in_a_worker(
    kafka: Broker, topic_name: Callable[[str], str], tmp_path: Path, installed: Path, receiver: Webhook
) -> None:
    topic, app = kafka.create_topic(topic_name("requests")), topic_name("pager")
    config = configuration(
        kafka.bootstrap,
        app,
        tmp_path,
        {"requests": source(topic)},
        sinks={"pager": {"url": receiver.url, "token": "sekret"}},
        alerting={
            "missing_after": "1d",
            "tiers": [{"severity": "page", "long": "1h", "short": "5m", "factor": 14.4}],
        },
        web={"url": "https://slo.example.org/shop"},
    )
    began = time.time() // 10 * 10 - 180 * MINUTE
    good, bad = every_second(began, 30 * MINUTE), every_second(began + 30 * MINUTE, 10 * MINUTE, 503)
    kafka.produce(topic, good + bad)
    with WorkerProcess(config, folder=tmp_path, packages=[installed]) as worker:
        wait_until(lambda: len(receiver.posts) == 1, timeout_s=90, what="the firing alert")
        kafka.produce(topic, every_second(began + 40 * MINUTE, 20 * MINUTE))
        wait_until(lambda: len(receiver.posts) == 2, timeout_s=60, what="the resolved alert")
        sent = ("streamgauge_alert_deliveries_total", (("outcome", "sent"), ("sink", "pager")))
        assert worker.samples()[sent] == 2
    link = "https://slo.example.org/shop"
    assert receiver.posts == [
        {"alert": BURN, "state": state, "link": link, "token": "sekret"} for state in ("firing", "resolved")
    ]
    assert "sekret" not in worker.log_tail(1_000)


def test_a_sink_that_cannot_be_set_up_ends_the_worker_with_a_sentence(tmp_path: Path) -> None:
    config = {
        "sources": {"requests": {"topic": "requests", "format": "json", "time": {"field": "ts"}}},
        "sinks": {"notify": ["discrod://id/sekret"]},
    }
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    done = run(tmp_path, "worker", "-c", str(path))
    assert done.returncode == 1
    (told,) = done.stderr.splitlines()
    assert told.startswith("sinks.notify[0]: expected an address that Apprise knows")
    assert "sekret" not in told
