"""A process of the demo: in a group of its own, logged to a file, always ended.

Guarantee: `stop` leaves nothing of the process group behind. Where `setpriv` is installed (each Linux with
util-linux), the kernel also ends the process when the demo itself is killed and cannot clean up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Child", "ChildError"]

STOP_SECONDS = 10.0
"""Time to end after SIGTERM; a worker needs about one flush and one commit."""


class ChildError(Exception):
    """A process that did not start or ended by itself; its text ends with the last lines of its log."""


class Child:
    """One process and its log."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str], folder: Path
    ) -> Child:
        """Start `command` in `folder` with exactly the variables of `env`."""
        setpriv = shutil.which("setpriv")
        guard = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *guard,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(env),
                cwd=folder,
                start_new_session=True,
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raise ChildError if the process has ended."""
        if self._process.returncode is not None:
            code = self._process.returncode
            raise ChildError(
                f"the {self.name} ended by itself with exit code {code}; its last lines:\n{self.log_tail()}"
            )

    def log_tail(self, line_count: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-line_count:])

    async def stop(self) -> None:
        """End the process and its group: SIGTERM, and SIGKILL after `STOP_SECONDS`."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        self._signal(signal.SIGKILL)
        await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
