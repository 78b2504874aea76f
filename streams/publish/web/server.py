"""The worker's web server: metrics, health, the live state as JSON, and a page for people.

Text is made in a thread from a snapshot, so that a scrape never holds the event loop for longer than the
copies take.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from streams.publish.metrics.page import render
from streams.publish.metrics.snapshot import WorkerSnapshot
from streams.publish.web.access import Access, guard, page_policy
from streams.publish.web.connections import Connections
from streams.publish.web.log_templates import TemplatesOf

STOP_S = 2.0
"""How long answers that are being written may delay the end of the process."""


class _OwnFaults(logging.Filter):
    """Leaves out what is no HTTP: aiohttp logs a trace for each such request, whoever sends it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_log = logging.getLogger(__name__)
_log.addFilter(_OwnFaults())

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
    access: Access | None = None,
) -> web.Application:
    """Routes of a worker.

    access : who may see what; by default whoever is on this machine

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

    page_text = files("streams.publish.web").joinpath("page.html").read_text(encoding="utf-8")
    policy = {"Content-Security-Policy": page_policy(page_text)}

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=page_text, content_type="text/html", headers=policy)

    application = web.Application()
    guard(application, access or Access())
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


@dataclass(frozen=True, slots=True)
class Served:
    """A web server that serves.

    port : that is in use
    """

    port: int
    _runner: web.AppRunner
    _listening: asyncio.Server

    async def close(self) -> None:
        self._listening.close()
        await self._runner.cleanup()


async def serve(application: web.Application, host: str, port: int) -> Served:
    """Start serving, with bounds on connections and their times.

    Raises OSError with the address where it is taken.
    """
    connections = Connections()
    application.middlewares.insert(0, connections.answer)
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=_log,
        lingering_time=0.0,
        handler_cancellation=True,
        shutdown_timeout=STOP_S,
    )
    await runner.setup()
    assert runner.server is not None
    protocols = connections.protocols(runner.server)
    try:
        listening = await asyncio.get_running_loop().create_server(protocols, host or None, port)
    except OSError as error:
        await runner.cleanup()
        raise OSError(
            error.errno, f"cannot serve metrics on {host}:{port}: {error.strerror}; set web.port"
        ) from error
    return Served(int(listening.sockets[0].getsockname()[1]), runner, listening)
