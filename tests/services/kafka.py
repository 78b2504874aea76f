"""A real Apache Kafka for tests and benchmarks: one KRaft node on free loopback ports in a temporary folder.

`open_broker()` takes what the machine offers: the address in STREAMGAUGE_TEST_BROKER, else a broker of our
own from Maven artifacts, else one in Docker. A broker of our own starts in about 6 s.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.services.kafka_jars import kafka_jars, kafka_version
from tests.services.process import (
    MissingServiceError,
    ServerProcess,
    ServiceFailedError,
    free_ports,
    port_is_open,
    require_program,
)
from tests.services.topics import Topics

START_TIMEOUT_S = 90.0
"""A loaded machine with two cores has needed 25 s."""


class Broker(Topics):
    """What tests hold: an address, and the topics behind it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the broker, if it is ours."""


class ExternalBroker(Broker):
    """A broker that somebody else runs; tests use topics and groups of unique names on it."""


class KafkaBroker(Broker):
    """Apache Kafka from Maven artifacts, in processes of our own.

    bootstrap     : `127.0.0.1:PORT`, fixed over `stop`, `kill` and `start`
    folder        : the temporary folder with its data and its log `kafka.log`
    java_options  : for the server; 512 MB of heap suffice for the tests
    settings      : further lines of `server.properties`
    """

    def __init__(
        self, *, java_options: tuple[str, ...] = ("-Xmx512m",), settings: dict[str, str] | None = None
    ) -> None:
        self._port, self._controller_port = free_ports(2)
        super().__init__(f"127.0.0.1:{self._port}")
        self._java = require_program("java", package="default-jre-headless", purpose="A real Apache Kafka")
        self._class_path = f"{kafka_jars()}/*"
        self.folder = Path(tempfile.mkdtemp(prefix="streamgauge-kafka-"))
        self._properties = self.folder / "server.properties"
        lines = {**self._defaults(), **(settings or {})}
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        self._server = ServerProcess(
            f"Apache Kafka {kafka_version()}",
            [
                *(self._java, *java_options, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"),
                *("-cp", self._class_path, "kafka.Kafka", str(self._properties)),
            ],
            log=self.folder / "kafka.log",
        )

    def _defaults(self) -> dict[str, str]:
        """Return the settings of a single node that answers at once and forgets nothing in a test's time."""
        broker, controller = f"127.0.0.1:{self._port}", f"127.0.0.1:{self._controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{broker}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": controller,
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            # Members join without waiting for company, and are given up after half a second if they wish.
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "500",
            # Test data carry event times of any year; retention must not delete them under a test.
            "log.retention.ms": "-1",
        }

    def __enter__(self) -> Self:
        try:
            self._format()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def _format(self) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode().replace("-", "A")
        tool = [self._java, "-XX:TieredStopAtLevel=1", "-cp", self._class_path, "kafka.tools.StorageTool"]
        done = subprocess.run(
            [*tool, "format", "--standalone", "-t", cluster_id, "-c", str(self._properties)],
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise ServiceFailedError(f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start the server, or start it again on its old data, and wait until it answers."""
        self._server.start()
        self._server.wait_until(
            lambda: port_is_open(self._port) and self.answers(), timeout_s=START_TIMEOUT_S
        )

    def stop(self) -> None:
        """Shut the server down in good order; the data stay."""
        self._server.stop(timeout_s=30.0)

    def kill(self) -> None:
        """End the server with SIGKILL; the data stay."""
        self._server.kill()

    def signal(self, number: int) -> None:
        """Send a signal, such as SIGSTOP and SIGCONT, to the server."""
        self._server.signal(number)

    @property
    def pid(self) -> int:
        return self._server.pid

    def log_tail(self) -> str:
        return self._server.log_tail()

    def close(self) -> None:
        # Nobody needs the data any more, so there is nothing to shut down in good order.
        self._server.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class DockerBroker(Broker):
    """The same Kafka from its official image, for a machine with Docker but without Java and Maven."""

    def __init__(self) -> None:
        self._docker = require_program("docker", package="docker.io", purpose="A real Apache Kafka in Docker")
        (self._port,) = free_ports(1)
        super().__init__(f"127.0.0.1:{self._port}")
        self._container = f"streamgauge-kafka-{uuid.uuid4().hex[:12]}"

    def __enter__(self) -> Self:
        environment = {
            "KAFKA_NODE_ID": "1",
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_LISTENERS": f"PLAINTEXT://0.0.0.0:{self._port},CONTROLLER://127.0.0.1:9093",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{self._port}",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@127.0.0.1:9093",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "500",
            "KAFKA_LOG_RETENTION_MS": "-1",
        }
        options = [part for key, value in environment.items() for part in ("-e", f"{key}={value}")]
        publish = ["-p", f"127.0.0.1:{self._port}:{self._port}"]
        image = f"apache/kafka:{kafka_version()}"
        run = [self._docker, "run", "-d", "--rm", "--name", self._container, *publish, *options, image]
        done = subprocess.run(run, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise MissingServiceError(f"Docker did not start {image}: {done.stderr.strip()}")
        try:
            self.wait_until_it_answers(timeout_s=START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        subprocess.run([self._docker, "rm", "-f", self._container], capture_output=True, check=False)


def open_broker() -> Broker:
    """Return a broker by whatever way this machine has; use it in a `with` block.

    Raises MissingServiceError, which names every way, when there is none.
    """
    address = os.environ.get("STREAMGAUGE_TEST_BROKER")
    if address:
        return ExternalBroker(address)
    try:
        return KafkaBroker()
    except MissingServiceError as missing:
        if shutil.which("docker"):
            return DockerBroker()
        raise MissingServiceError(
            f"{missing}. Other ways: the address of a broker in STREAMGAUGE_TEST_BROKER, or Docker."
        ) from None
