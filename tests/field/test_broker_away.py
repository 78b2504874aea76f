"""A broker that is away: at the start, for a while, at the end; and what is no broker at all.

Seen: 11,371 lines of log in 110 s without a broker, and more than 90 s from SIGTERM to the end.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.field.test_own_topics import run_to_its_end
from tests.integration.test_worker import child, configuration, every_second, source, wait_for_outcomes
from tests.services.http import answers
from tests.services.kafka import Broker, KafkaBroker
from tests.services.process import MissingServiceError, wait_until
from tests.services.worker import ROOT, WorkerProcess

START_S = 1_779_000_000
ENDS_WITHIN_S = 20.0


@pytest.fixture
def broker() -> Iterator[KafkaBroker]:
    """A broker of the test's own, which may be hurt."""
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(KafkaBroker())
        except MissingServiceError as error:
            pytest.skip(str(error))


def config_of(bootstrap: str, folder: Path, topic: str = "requests") -> dict[str, Any]:
    return configuration(bootstrap, "away", folder, {"requests": source(topic)})


@pytest.mark.parametrize("hurt", ["kill", "freeze"])
def test_an_outage_is_told_in_a_few_lines_and_loses_nothing(
    broker: KafkaBroker, tmp_path: Path, hurt: str
) -> None:
    topic = broker.create_topic("requests")
    with WorkerProcess(config_of(broker.bootstrap, tmp_path), folder=tmp_path) as worker:
        worker.wait_until_ready()
        broker.produce(topic, every_second(START_S, 100), partition=0)
        wait_for_outcomes(worker, {"in": 100})
        before = len(worker.log_tail(10_000).splitlines())
        broker.kill() if hurt == "kill" else broker.signal(signal.SIGSTOP)
        told = f"The broker at {broker.bootstrap} has been away since"
        wait_until(lambda: told in worker.log_tail(), timeout_s=90, what=f"a line that says {told}")
        time.sleep(10)
        assert len(worker.log_tail(10_000).splitlines()) - before < 20
        broker.start() if hurt == "kill" else broker.signal(signal.SIGCONT)
        again = "The broker answers again"
        wait_until(lambda: again in worker.log_tail(), timeout_s=90, what=f"a line that says {again}")
        broker.produce(topic, every_second(START_S + 100, 50), partition=0)
        wait_for_outcomes(worker, {"in": 150})


@pytest.mark.parametrize("hurt", ["kill", "freeze"])
def test_a_worker_ends_without_its_broker(broker: KafkaBroker, tmp_path: Path, hurt: str) -> None:
    topic = broker.create_topic("requests")
    with child(config_of(broker.bootstrap, tmp_path), tmp_path, "ending") as (worker, process):
        wait_until(worker.ready, timeout_s=60, what="a ready worker")
        broker.produce(topic, every_second(START_S, 100), partition=0)
        wait_for_outcomes(worker, {"in": 100})
        broker.kill() if hurt == "kill" else broker.signal(signal.SIGSTOP)
        time.sleep(5)
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(ENDS_WITHIN_S) == 0
        finally:
            broker.signal(signal.SIGCONT)


def test_a_worker_waits_for_a_broker_at_the_start_and_answers_meanwhile(
    broker: KafkaBroker, tmp_path: Path
) -> None:
    topic = broker.create_topic("requests")
    broker.stop()
    with WorkerProcess(config_of(broker.bootstrap, tmp_path), folder=tmp_path) as worker:
        told = f"Waiting for the broker: {broker.bootstrap}: "
        wait_until(lambda: told in worker.log_tail(), timeout_s=60, what=f"a line that says {told}")
        assert answers(f"{worker.url}/healthz")
        assert not worker.ready()
        broker.start()
        worker.wait_until_ready()
        broker.produce(topic, every_second(START_S, 100), partition=0)
        wait_for_outcomes(worker, {"in": 100})
        assert worker.log_tail(1000).count("Waiting for the broker") == 1


def test_a_worker_that_waits_ends_when_it_is_told_to(tmp_path: Path) -> None:
    with child(config_of("127.0.0.1:1", tmp_path), tmp_path, "waiting") as (worker, process):
        wait_until(lambda: answers(f"{worker.url}/healthz"), timeout_s=60, what="a worker that waits")
        process.send_signal(signal.SIGTERM)
        assert process.wait(ENDS_WITHIN_S) == 0


class Page(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def http_server() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def talkative() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    connection.sendall(b"-ERR unknown command\r\n")

        threading.Thread(target=talk, daemon=True).start()
        yield int(listening.getsockname()[1])


def tls_server(folder: Path) -> Iterator[int]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def shake() -> None:
            while True:
                with contextlib.suppress(ssl.SSLError):
                    connection, _ = listening.accept()
                    context.wrap_socket(connection, server_side=True)

        threading.Thread(target=shake, daemon=True).start()
        yield int(listening.getsockname()[1])


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ("http", "expected a Kafka broker, found an HTTP server"),
        ("talkative", "expected a Kafka broker, found something that says b'-ERR unknown command"),
        ("tls", "expected PLAINTEXT, found TLS; set broker.security.protocol to SSL or SASL_SSL"),
    ],
)
def test_what_is_no_broker_is_named(tmp_path: Path, server: str, told: str) -> None:
    kinds: dict[str, Callable[[], Iterator[int]]] = {
        "http": http_server,
        "talkative": talkative,
        "tls": lambda: tls_server(tmp_path),
    }
    with contextlib.contextmanager(kinds[server])() as port:
        code, log = run_to_its_end(tmp_path, config_of(f"127.0.0.1:{port}", tmp_path))
    (line,) = log.splitlines()
    assert code == 1
    assert f"127.0.0.1:{port}: {told}" in line


def test_tls_that_the_broker_does_not_speak_is_named(kafka: Broker, tmp_path: Path) -> None:
    config = config_of(kafka.bootstrap, tmp_path)
    config["broker"]["security"] = {"protocol": "SSL"}
    code, log = run_to_its_end(tmp_path, config)
    assert code == 1
    assert "broker.security.protocol" in log
    assert "Traceback" not in log


def test_a_port_that_is_taken_is_one_line(kafka: Broker, tmp_path: Path) -> None:
    worker = WorkerProcess(config_of(kafka.bootstrap, tmp_path), folder=tmp_path)
    port = int(worker.url.rpartition(":")[2])
    command = [sys.executable, "-m", "streams.cli", "worker", "-c", str(worker.path)]
    with socket.create_server(("127.0.0.1", port)):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert f"cannot serve metrics on 127.0.0.1:{port}: " in line
    assert "set web.port" in line
