"""What a sink of alerts is: one class in one file, found by one entry point in the group `streamgauge.sinks`.

The entry point's name is the sink's key under `sinks:` in the configuration, and its label in the metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from detectors.alerts.alert import Alert


class SinkSetupError(ValueError):
    """The settings of a sink cannot be used; the message names the key and says how to put it right."""


class Sink(Protocol):
    """Delivers alerts to one kind of receiver.

    `take`, `take_over` and `forget` note what is to be done and return at once; `run` does it, beside the
    stream. Whatever becomes of the receiver, memory has a limit, and an alert that it rejects does not keep
    the others from arriving.

    Settings : type of the value under the sink's key: a `Model` in most, with `SecretStr` for secrets
    settings : such a value
    page_url : address of the worker's page, for links
    outcomes : how often each outcome was met so far, the label `outcome` of the metric of deliveries
    raises   : SinkSetupError for settings that only the sink itself can find wrong
    """

    Settings: ClassVar[Any]
    outcomes: Mapping[str, int]

    def __init__(self, settings: Any, *, page_url: str) -> None: ...

    async def run(self) -> None:
        """Deliver what was taken, for ever; when it is cancelled, close what it has opened."""

    def take(self, alert: Alert) -> None:
        """Deliver an alert that has just changed its state, if that is `firing` or `resolved` now."""

    def take_over(self, alerts: Sequence[Alert]) -> None:
        """Look after alerts that were live, and announced, when this worker took over their partitions."""

    def forget(self) -> None:
        """The assignment is over: repeat nothing more, since the next owner looks after what is live."""

    async def drain(self, timeout_s: float) -> bool:
        """Wait until all that was taken has been delivered or given up; False if the time is over before."""
