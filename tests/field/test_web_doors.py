"""Seen: 1,140 requests that were begun and never ended made `/healthz` dead, and the event loop logged
725,000 lines about sockets that it could not accept. Anybody who reached the port read every alert and log
line, and so did any web page that its visitor's browser was made to ask.
"""

from __future__ import annotations

import asyncio
import base64
import resource
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from streams.config.models import Web
from streams.publish.web import connections
from streams.publish.web.access import Access
from streams.publish.web.server import Served, serve, web_application
from tests.services.http import get_text
from tests.services.process import ServerProcess, free_ports, port_is_open

ROOT = Path(__file__).parents[2]
TOKEN = "0123456789abcdef"

SERVER = """
import asyncio, logging, resource, sys
from streams.publish.web.server import serve, web_application

logging.basicConfig()
resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))

async def main():
    def unused(*_): pass
    application = web_application(
        snapshot=unused, ready=lambda: True, state=unused, incidents=lambda: {}, templates=unused
    )
    await serve(application, "127.0.0.1", int(sys.argv[1]))
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[ServerProcess, int]]:
    """A worker's web server in a process that may have 512 files."""
    (port,) = free_ports(1)
    process = ServerProcess(
        "the web server",
        [sys.executable, "-c", SERVER, str(port)],
        log=tmp_path / "log",
        env={"PYTHONPATH": str(ROOT)},
    )
    process.start()
    process.wait_until(lambda: port_is_open(port), timeout_s=60)
    yield process, port
    process.kill()


@pytest.fixture
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], min(4096, before[1])), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ",
        b"GET /api/incidents HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["silent", "half-open", "kept"],
)
def test_requests_that_never_end_leave_the_server_alive_and_its_log_empty(
    server: tuple[ServerProcess, int], begun: bytes
) -> None:
    process, port = server
    with ExitStack() as held:
        for number in range(1_140):
            client = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            client.sendall(begun)
            if number % 100 == 99:
                assert get_text(f"http://127.0.0.1:{port}/healthz", timeout_s=30) == "ok\n"
        assert get_text(f"http://127.0.0.1:{port}/healthz", timeout_s=30) == "ok\n"
        descriptors = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        assert descriptors < 2 * connections.CONNECTIONS_MAX
    assert process.log.read_text() == ""


def test_what_is_no_http_leaves_the_log_empty(server: tuple[ServerProcess, int]) -> None:
    process, port = server
    for begun in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9\r\n\r\n", b"\r\n" * 9_000, b"A" * 100_000):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(begun)
            client.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                while client.recv(65_536):
                    pass
    assert get_text(f"http://127.0.0.1:{port}/healthz", timeout_s=30) == "ok\n"
    assert process.log.read_text() == ""


def application(access: Access | None = None) -> web.Application:
    def unused(*_: object) -> object:
        raise AssertionError("this is not asked for")

    return web_application(
        snapshot=unused,  # type: ignore[arg-type]
        ready=lambda: True,
        state=unused,  # type: ignore[arg-type]
        incidents=lambda: {"incidents": []},
        templates=unused,  # type: ignore[arg-type]
        access=access,
    )


@asynccontextmanager
async def serving(served: web.Application) -> AsyncIterator[Served]:
    server = await serve(served, "127.0.0.1", 0)
    try:
        yield server
    finally:
        await server.close()


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: "])
async def test_headers_that_do_not_end_in_time_end_the_connection(
    begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE_S", 0.2)
    async with serving(application()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(begun)
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        writer.close()


async def test_an_answer_that_nobody_reads_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWER_S", 0.2)
    ended = asyncio.Event()

    async def large(_request: web.Request) -> web.StreamResponse:
        return Large(ended, body=bytes(64 << 20))

    served = application()
    served.router.add_get("/large", large)
    async with serving(served) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(60):
                await ended.wait()
            client.settimeout(60)
            received = 0
            with suppress(ConnectionResetError):
                while part := await asyncio.to_thread(client.recv, 1 << 20):
                    received += len(part)
            assert received < 64 << 20


class Large(web.Response):
    """Tells when writing it has ended."""

    def __init__(self, ended: asyncio.Event, *, body: bytes) -> None:
        super().__init__(body=body)
        self._ended = ended

    async def write_eof(self, data: bytes = b"") -> None:
        try:
            await super().write_eof(data)
        finally:
            self._ended.set()


async def test_a_client_that_leaves_while_it_is_answered_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    served = application()

    async def large(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(64 << 20))

    served.router.add_get("/large", large)
    async with serving(served) as server:
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.read(1_000)
            writer.transport.abort()
        async with ClientSession() as client, client.get(f"http://127.0.0.1:{server.port}/healthz") as answer:
            assert answer.status == 200
    assert caplog.text == ""


async def test_when_all_are_being_answered_a_new_client_is_still_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 3)
    asked = asyncio.Semaphore(0)

    async def never(_request: web.Request) -> web.Response:
        asked.release()
        await asyncio.Event().wait()
        raise AssertionError

    served = application()
    served.router.add_get("/never", never)
    async with serving(served) as server:
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asked.acquire()
        async with ClientSession() as client, client.get(f"http://127.0.0.1:{server.port}/healthz") as answer:
            assert answer.status == 200


async def status(access: Access, path: str, **headers: str) -> int:
    async with (
        serving(application(access)) as server,
        ClientSession() as client,
        client.get(f"http://127.0.0.1:{server.port}{path}", headers=headers) as answer,
    ):
        return answer.status


LOCAL = Access.of(Web())
OTHERS = Access.of(Web(host="0.0.0.0"))
PUBLIC = Access.of(Web(host="0.0.0.0", public=True))
WITH_TOKEN = Access.of(Web.model_validate({"host": "0.0.0.0", "token": TOKEN}))
LOCAL_WITH_TOKEN = Access.of(Web.model_validate({"token": TOKEN}))
NAMED = Access.of(Web(host="0.0.0.0", public=True, hosts=("worker-1",), url="https://slo.example.org/a"))


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("access", "headers", "expected"),
    [
        (LOCAL, {}, 200),
        (LOCAL, {"Host": "localhost:9464"}, 200),
        (LOCAL, {"Host": "[::1]:9464"}, 200),
        (LOCAL, {"Host": "evil.test"}, 421),
        (LOCAL, {"Host": "localhost.evil.test"}, 421),
        (LOCAL, {"Host": "[::"}, 421),
        (OTHERS, {}, 403),
        (OTHERS, {"Authorization": "Bearer "}, 403),
        (PUBLIC, {"Host": "worker-1:9464"}, 200),
        (WITH_TOKEN, {"Host": "worker-1:9464"}, 401),
        (WITH_TOKEN, {"Authorization": f"Bearer {TOKEN}"}, 200),
        (WITH_TOKEN, {"Authorization": f"Bearer {TOKEN}0"}, 401),
        (WITH_TOKEN, {"Authorization": "Bearer \u00e4"}, 401),
        (WITH_TOKEN, {"Authorization": TOKEN}, 401),
        (WITH_TOKEN, {"Authorization": basic(TOKEN)}, 200),
        (WITH_TOKEN, {"Authorization": basic("")}, 401),
        (WITH_TOKEN, {"Authorization": "Basic a"}, 401),
        (LOCAL_WITH_TOKEN, {}, 401),
        (NAMED, {"Host": "worker-1:9464"}, 200),
        (NAMED, {"Host": "SLO.example.org"}, 200),
        (NAMED, {"Host": "evil.test"}, 421),
    ],
)
async def test_who_may_see_the_api(access: Access, headers: dict[str, str], expected: int) -> None:
    assert await status(access, "/api/incidents", **headers) == expected


@pytest.mark.parametrize("access", [LOCAL, OTHERS, PUBLIC, WITH_TOKEN, NAMED])
async def test_probes_are_answered_whatever_the_host(access: Access) -> None:
    for path in ("/healthz", "/readyz"):
        assert await status(access, path, Host="10.0.0.7:9464") == 200


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/api/../api/incidents", "//api/incidents", "/%61pi/incidents"]
)
async def test_no_other_spelling_of_a_path_goes_around_the_token(path: str) -> None:
    assert await status(WITH_TOKEN, path) == 401


@pytest.mark.parametrize("path", ["/", "/healthz", "/nowhere", "/api/incidents"])
async def test_browsers_are_told_what_the_answers_are_for(path: str) -> None:
    async with (
        serving(application()) as server,
        ClientSession() as client,
        client.get(f"http://127.0.0.1:{server.port}{path}") as answer,
    ):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert ("script-src 'sha256-" in policy) is (path == "/")
        assert "Python" not in answer.headers["Server"]


@pytest.mark.parametrize("settings", [{"token": "short"}, {"token": TOKEN, "public": True}, {"token": ""}])
def test_a_token_that_guards_nothing_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="token"):
        Web.model_validate(settings)
