"""A bound on the connections of a web server, and on the time that each may take.

Guarantee: however many clients begin requests and never end them, or ask and never read, a new one is served.
Beyond `CONNECTIONS_MAX` the connection that has waited longest without a whole request makes room, and if all
are being answered the one whose answer takes longest. File descriptors are never used up, so that the event
loop does not log each `accept` that fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import web

__all__ = ["ANSWER_S", "CONNECTIONS_MAX", "IDLE_S", "Connections"]

CONNECTIONS_MAX = 128
"""Far more than scrapers, probes and open pages need; `accept` may take as many again for a moment."""

IDLE_S = 20.0
"""How long a connection may be without a whole request: to send its headers, or to ask again."""

ANSWER_S = 60.0
"""How long an answer may take, to the last byte that the client reads."""


class Connections:
    """The connections of one server.

    `answer` is to be the first middleware of its application, and the listening socket is to be given
    `protocols` in place of aiohttp's server itself.
    """

    def __init__(self) -> None:
        self._open: dict[asyncio.Transport, asyncio.TimerHandle] = {}
        """What ends each, in the order in which they began to wait, or to be answered."""
        self._answering: set[asyncio.Transport] = set()

    def protocols(self, server: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Makes protocols that count, each of which passes all on to one of aiohttp's."""
        return lambda: _Counted(self, server())

    def opened(self, transport: asyncio.Transport) -> None:
        if len(self._open) >= CONNECTIONS_MAX:
            waiting = (each for each in self._open if each not in self._answering)
            self._end(next(waiting, next(iter(self._open))))
        self._give(transport, IDLE_S)

    def closed(self, transport: asyncio.Transport) -> None:
        timer = self._open.pop(transport, None)
        if timer is not None:
            timer.cancel()
        self._answering.discard(transport)

    def _give(self, transport: asyncio.Transport, time_s: float) -> None:
        """Let a connection go on for so long, as the last in the order."""
        timer = self._open.pop(transport, None)
        if timer is not None:
            timer.cancel()
        self._open[transport] = asyncio.get_running_loop().call_later(time_s, self._end, transport)

    def _end(self, transport: asyncio.Transport) -> None:
        self.closed(transport)
        transport.abort()

    @web.middleware
    async def answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Make and write the whole answer in the time it may take."""
        transport = request.transport
        if transport is None:
            return web.Response(status=503)  # to nobody
        self._answering.add(transport)
        self._give(transport, ANSWER_S)
        try:
            response = await handler(request)
            await response.prepare(request)
            await response.write_eof()
            return response
        except ConnectionError:
            return web.Response(status=503)  # to nobody
        finally:
            if not transport.is_closing():
                self._answering.discard(transport)
                self._give(transport, IDLE_S)


class _Counted(asyncio.Protocol):
    """A connection's protocol that tells of its beginning and end."""

    def __init__(self, connections: Connections, inner: asyncio.Protocol) -> None:
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._inner = inner
        self.data_received = inner.data_received  # type: ignore[method-assign]
        self.eof_received = inner.eof_received  # type: ignore[method-assign]
        self.pause_writing = inner.pause_writing  # type: ignore[method-assign]
        self.resume_writing = inner.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.opened(self._transport)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._connections.closed(self._transport)
        self._inner.connection_lost(exc)
