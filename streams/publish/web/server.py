"""The worker's web server: metrics, health, the live state as JSON, and a page for people.

Text is made in a thread from a snapshot, so that a scrape never holds the event loop for longer than the
copies take.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

from aiohttp import web

from streams.publish.metrics.page import render
from streams.publish.metrics.snapshot import WorkerSnapshot
from streams.publish.web.log_templates import TemplatesOf

SnapshotOf = Callable[[], Awaitable[Callable[[], WorkerSnapshot]]]
"""Copies the live state in the event loop; what it returns completes the copy and may run in a thread."""


GZIP_LEVEL = 1
"""Metrics are repetitive: the fastest level makes a page several times smaller."""


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client that sends this header takes gzip.

    >>> accepts_gzip("deflate, gzip;q=0.5"), accepts_gzip("gzip;q=0, identity"), accepts_gzip("")
    (True, False, False)
    """
    for entry in accept_encoding.split(","):
        coding, *parameters = (part.strip().replace(" ", "").lower() for part in entry.split(";"))
        if coding == "gzip":
            return not any(re.fullmatch(r"q=0(\.0{0,3})?", each) for each in parameters)
    return False


def web_application(
    *,
    snapshot: SnapshotOf,
    ready: Callable[[], bool],
    state: Callable[[WorkerSnapshot], dict[str, Any]],
    incidents: Callable[[], dict[str, Any]],
    templates: TemplatesOf,
) -> web.Application:
    """Routes of a worker.

    /metrics     Prometheus text or OpenMetrics, as the client asks
    /healthz     200 while the process serves
    /readyz      200 once partitions are owned and read, else 503
    /api/state   SLOs and alerts as JSON
    /api/incidents   open and past incidents as JSON
    /api/log-templates   log templates as JSON; `?format=csv` gives the table to review, `&source=` chooses
    /            the live page
    """

    async def metrics(request: web.Request) -> web.Response:
        complete = await snapshot()
        accept = request.headers.get("Accept", "")
        packed = accepts_gzip(request.headers.get("Accept-Encoding", ""))

        def written() -> tuple[bytes, str]:
            body, content_type = render(complete(), accept)
            return gzip.compress(body, GZIP_LEVEL) if packed else body, content_type

        body, content_type = await asyncio.to_thread(written)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if packed:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)

    async def health(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readiness(_request: web.Request) -> web.Response:
        if ready():
            return web.Response(text="ready\n")
        return web.Response(text="waiting for partitions\n", status=503)

    async def api_state(_request: web.Request) -> web.Response:
        complete = await snapshot()
        return web.json_response(await asyncio.to_thread(lambda: state(complete())))

    async def api_incidents(_request: web.Request) -> web.Response:
        return web.json_response(incidents())

    async def api_log_templates(request: web.Request) -> web.Response:
        complete = templates()
        wanted, source = request.query.get("format", "json"), request.query.get("source")
        found = [one for one in await asyncio.to_thread(complete) if source in (None, one.source)]
        if wanted == "json":
            rows = await asyncio.to_thread(lambda: [row for one in found for row in one.rows()])
            return web.json_response({"templates": rows})
        if wanted != "csv" or len(found) != 1:
            told = "expected format=json, or format=csv and a source that has log templates"
            return web.Response(status=400, text=f"{told}\n")
        table = await asyncio.to_thread(found[0].catalog.to_csv)
        return web.Response(text=table, content_type="text/csv")

    async def page(_request: web.Request) -> web.Response:
        text = files("streams.publish.web").joinpath("page.html").read_text(encoding="utf-8")
        return web.Response(text=text, content_type="text/html")

    application = web.Application()
    application.add_routes(
        [
            web.get("/metrics", metrics),
            web.get("/healthz", health),
            web.get("/readyz", readiness),
            web.get("/api/state", api_state),
            web.get("/api/incidents", api_incidents),
            web.get("/api/log-templates", api_log_templates),
            web.get("/", page),
        ]
    )
    return application


async def serve(application: web.Application, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Start serving; returns the runner, whose `cleanup` ends it, and the port in use.

    Raises OSError with the address where it is taken.
    """
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise OSError(
            error.errno, f"cannot serve metrics on {host}:{port}: {error.strerror}; set web.port"
        ) from error
    return runner, int(runner.addresses[0][1])
