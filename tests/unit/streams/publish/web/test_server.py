"""The worker's web server: how a page of metrics is packed."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from streams.publish.metrics.snapshot import WorkerSnapshot
from streams.publish.web.server import accepts_gzip, web_application
from tests.integration.test_scrape import full_snapshot


def application() -> Any:
    async def snapshot() -> Callable[[], WorkerSnapshot]:
        return full_snapshot

    return web_application(
        snapshot=snapshot,
        ready=lambda: True,
        state=lambda _: {},
        incidents=dict,
        templates=lambda: list,
    )


async def scraped(accept_encoding: str) -> tuple[bytes, str | None]:
    """Body as sent, and how it says it is packed."""
    async with TestClient(TestServer(application()), auto_decompress=False) as client:
        answer = await client.get("/metrics", headers={"Accept-Encoding": accept_encoding})
        assert answer.status == 200
        assert "Accept-Encoding" in answer.headers["Vary"]
        return await answer.read(), answer.headers.get("Content-Encoding")


async def test_metrics_are_packed_for_those_who_take_it() -> None:
    plain, no_coding = await scraped("identity")
    packed, coding = await scraped("gzip, deflate")
    assert (no_coding, coding) == (None, "gzip")
    names = {line.split(b"{")[0] for line in gzip.decompress(packed).splitlines() if b"streamgauge_" in line}
    assert names == {line.split(b"{")[0] for line in plain.splitlines() if b"streamgauge_" in line}
    assert len(packed) < len(plain) / 3


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip; q=0", False),
        ("gzip;q=0.000", False),
        ("identity", False),
        ("", False),
        (";;,=", False),
    ],
)
def test_a_client_says_whether_it_takes_gzip(header: str, taken: bool) -> None:
    assert accepts_gzip(header) is taken
