"""What a worker says while its broker is away: a line now and then, not a thousand by its clients."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

__all__ = ["BrokerWatch"]

logger = logging.getLogger(__name__)

SAY_EVERY_S = 30.0

AWAY_AFTER_S = 2.0
"""A connection that is made anew at once is no outage."""

SILENT_S = 30.0
"""Metadata are asked for every 10 s. A broker that is connected and gives none for this long hangs."""

CLIENTS = ("aiokafka", "faust", "mode")
"""Loggers of others that repeat themselves while the broker is away."""

OURS = ("Flush of %s failed", "Commit failed", "%s; trying again")
"""Messages of ours that do so."""


class BrokerWatch(logging.Filter):
    """Knows since when the broker has been away, and thins out what clients log; a filter of log handlers.

    Each message of a client, whatever its arguments, comes at most once in `SAY_EVERY_S`, and not at all
    while the broker is known to be away.
    """

    def __init__(self, addresses: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._addresses = ", ".join(addresses)
        self._clock = clock
        self._answered_s = clock()
        self._said_s = -SAY_EVERY_S
        self._last: dict[tuple[str, str], float] = {}
        self.away = False

    def note(self, connected: bool, silent_s: float) -> None:
        """Take note of how things stand, about once a second.

        connected : whether a client has a connection to any broker
        silent_s  : how long ago a broker last told of its topics
        """
        now = self._clock()
        if connected and silent_s < SILENT_S:
            if self.away:
                logger.warning("The broker answers again, after %.0f s", now - self._answered_s)
                self.away = False
            self._answered_s = now
            return
        gone_s = max(now - self._answered_s, silent_s if connected else 0.0)
        if gone_s < AWAY_AFTER_S:
            return
        if not self.away:
            self.away, self._said_s = True, now - SAY_EVERY_S
            self._answered_s = now - gone_s
        if now - self._said_s >= SAY_EVERY_S:
            self._said_s = now
            since = time.strftime("%H:%M:%S", time.localtime(time.time() - gone_s))
            logger.warning(
                "The broker at %s has been away since %s (%.0f s). Nothing is lost: reading goes on where it "
                "stopped once it is back",
                self._addresses,
                since,
                gone_s,
            )

    def filter(self, record: logging.LogRecord) -> bool:
        message = str(record.msg)
        if not record.name.startswith(CLIENTS) and not any(ours in message for ours in OURS):
            return True
        if record.levelno >= logging.CRITICAL:
            return True
        if self.away:
            return False
        now, key = self._clock(), (record.name, message)
        if now - self._last.get(key, -SAY_EVERY_S) < SAY_EVERY_S:
            return False
        self._last[key] = now
        return True
