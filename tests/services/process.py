"""A server process of a test: started on free loopback ports, watched until it answers, always ended.

Guarantee: the process and its children die with the `with` block, and, where `setpriv` is there (every
Debian), also when the test run itself is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path


class MissingServiceError(Exception):
    """Something that the machine lacks; the message names it and the way to get it."""


class ServiceFailedError(Exception):
    """A server that did not come up; the message ends with the last lines of its log."""


def require_program(*names: str, package: str, purpose: str) -> str:
    """Return the path of the first of `names` that is installed.

    Raises MissingServiceError, which names the Debian package.
    """
    for name in names:
        for folder in (None, "/usr/sbin:/usr/local/sbin"):
            found = shutil.which(name, path=folder)
            if found is not None:
                return found
    raise MissingServiceError(
        f"{purpose} needs the program {' or '.join(names)}, which is not on PATH. "
        f"Install it, on Debian with: apt-get install {package} (or all at once: scripts/system-packages)"
    )


def start_children_with_default_signals() -> None:
    """Let no child inherit that signals are ignored, as they are where the tests run behind `&` or `nohup`.

    A handler, unlike the order to ignore, ends where a child's own program begins. This process goes on as if
    it ignored them.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def free_ports(count: int) -> list[int]:
    """Return `count` distinct loopback ports that were free a moment ago."""
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(count):
            sock = held.enter_context(socket.socket())
            sock.bind(("127.0.0.1", 0))
            ports.append(int(sock.getsockname()[1]))
        return ports


def wait_until(
    answers: Callable[[], bool], *, timeout_s: float, pause_s: float = 0.1, what: str = "the condition"
) -> None:
    """Ask again until `answers()` is true; raise TimeoutError, naming `what`, after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not answers():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not hold within {timeout_s:g} s")
        time.sleep(pause_s)


class ServerProcess:
    """One server in a process group of its own, with its output in a log file."""

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} is not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        if self.running:
            raise RuntimeError(f"{self.name} runs already")
        # The kernel ends the server with us, even when we are killed and no clean-up of ours runs.
        setpriv = shutil.which("setpriv")
        guard = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*guard, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
            )
        atexit.register(self.kill)

    def wait_until(self, answers: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until the server answers; raise ServiceFailedError with its log if it ends or never does."""
        deadline = time.monotonic() + timeout_s
        while not answers():
            if not self.running or time.monotonic() > deadline:
                state = "is still silent" if self.running else "ended"
                self.kill()
                raise ServiceFailedError(
                    f"{self.name} {state} before it answered (limit {timeout_s:g} s). Its log:\n"
                    + self.log_tail()
                )
            time.sleep(0.1)

    def log_tail(self, line_count: int = 40) -> str:
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-line_count:])

    def signal(self, number: int) -> None:
        """Send a signal to the whole process group; nothing if it has ended."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """End the server: SIGTERM, then SIGKILL once `timeout_s` is over."""
        if self._process is None:
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """End the server and whatever it started, at once."""
        atexit.unregister(self.kill)
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None


def port_is_open(port: int) -> bool:
    """Tell whether something on loopback accepts connections on `port`."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two test runs at once do not fill the same cache folder."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
