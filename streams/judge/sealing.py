"""The loop that the worker and the offline flow drive alike: seal what is final, tell it, store it, go on.

What a bucket changes is told before its blocks are stored, since a stored block keeps it from being told
again; and only what is stored may be taken for final by a restart.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Protocol, TypeVar

from detectors.alerts.alert import Transition
from streams.judge.judged_source import JudgedSource
from streams.judge.slo_judge import SliReport
from streams.window.blocks import Block

T = TypeVar("T")


class Receiver(Protocol):
    """Who is told what sealed buckets give, and stores it."""

    async def announce(self, transitions: Sequence[Transition]) -> None:
        """Tell of alerts that changed their state; returns once that is durable."""

    async def announce_anomalies(self, anomalies: Sequence[Transition]) -> None:
        """Tell of anomalies that began or ended; returns once that is durable."""

    async def report(self, report: SliReport) -> None:
        """Tell the SLIs of an SLO."""

    async def store(self, blocks: Sequence[Block]) -> bool:
        """Begin to store the blocks of a bucket; False ends the loop, as the source is someone else's now."""

    async def stored(self) -> None:
        """Return once all blocks are durable."""


async def seal_final(source: JudgedSource, below: int, receiver: Receiver) -> bool:
    """Seal all buckets below `below`; returns whether any were, and all of it is durable."""
    if below <= source.sealed:
        return False
    for sealed in source.seal(below):
        if sealed.transitions:
            await receiver.announce(sealed.transitions)
        if sealed.anomalies:
            await receiver.announce_anomalies(sealed.anomalies)
        for report in sealed.slis:
            await receiver.report(report)
        if not await receiver.store(sealed.blocks):
            return False
    await receiver.stored()
    source.confirm(below)
    return True


def completed(steps: Coroutine[None, None, T]) -> T:
    """What a coroutine returns that has nothing to wait for, without an event loop.

    Raises RuntimeError if it waits all the same.
    """
    try:
        steps.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    steps.close()
    raise RuntimeError("a receiver without an event loop waited for something")
