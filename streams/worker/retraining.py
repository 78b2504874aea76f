"""Retrains models whose features have shifted, off the hot path, on the panels that detectors were shown.

The worker that owns the first partition of the partials keeps a week of a sample of each model's series.
Once a day of event time it compares them with what the champion, and the shadow if there is one, were
trained on. If all of them are outdated, or there is none, it trains a model in a process of its own and
announces it as *shadow*: a person promotes it, through the gate.

Guarantee: nothing that fails here stops or delays anything else; it is counted, said, and tried again a day
later. The sample lives in memory: after a start or a takeover it takes a week to be whole again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager

from detectors.api.detector import Adopting, Panel
from detectors.api.registry import make
from models.calendar.units import DAY_MS
from models.registry.feature_drift import Drift, drift_of
from models.registry.manifest import ROLES, Announcement
from models.registry.registry import Registry
from models.registry.training import Trainer
from streams.judge.monitors import Monitors
from streams.judge.panel_sample import PanelSample
from streams.modelling.train import train_model
from streams.plan.plan import MonitorPlan

logger = logging.getLogger(__name__)

HOLDOUT = 0.3
"""Share of the week that the backtest of a new model is judged on, for the gate of its promotion."""

KEPT_VERSIONS = 10
"""Versions of a model that are kept in addition to those with a role."""

TRAINED, UNCHANGED, FAILED = OUTCOMES = ("trained", "unchanged", "failed")


class Retraining:
    """Samples of the models' panels, and what becomes of them.

    monitors  : detectors, of which those are taken that go on with trained models; of several with one model
               the first tells what it is trained on
    registry : opened when it is needed; may raise ModelError
    announce : tells all workers of a new shadow
    trainer  : opened for each check, so that no process waits a day for the next one
    """

    def __init__(
        self,
        monitors: Iterable[MonitorPlan],
        registry: Callable[[], Registry],
        announce: Callable[[Announcement], Awaitable[None]],
        trainer: Callable[[], AbstractContextManager[Trainer]] = Trainer,
    ) -> None:
        self._registry = registry
        self._announce = announce
        self._trainer = trainer
        self._monitors: dict[str, MonitorPlan] = {}
        for monitor in monitors:
            if monitor.model and isinstance(make(monitor.detector, **monitor.settings), Adopting):
                self._monitors.setdefault(monitor.model, monitor)
        self._samples: dict[str, PanelSample] = {}
        self._next_ms = dict.fromkeys(self._monitors, 0)
        self._due: asyncio.Queue[str] = asyncio.Queue()
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """(model, one of `OUTCOMES`) to checks."""

    def follow(self, monitors: Monitors) -> None:
        """See what these monitors show their detectors from now on."""
        if self._monitors:
            monitors.on_panel = self.observe

    def observe(self, monitor: MonitorPlan, panel: Panel) -> None:
        """Take in a step; once a day its model is due."""
        if self._monitors.get(monitor.model) != monitor:
            return
        try:
            self._observe(monitor, panel)
        except Exception:
            # out of memory, say; it is judging that calls this
            logger.exception("Model %s is not retrained until the next start", monitor.model)
            self.outcomes[monitor.model, FAILED] += 1
            del self._monitors[monitor.model]

    def _observe(self, monitor: MonitorPlan, panel: Panel) -> None:
        sample = self._samples.get(monitor.model)
        if sample is None:
            sample = self._samples[monitor.model] = PanelSample(
                monitor.rollup, monitor.step_ms, panel.features
            )
        sample.add(panel)
        if sample.last_ms >= self._next_ms[monitor.model] and sample.is_full:
            self._next_ms[monitor.model] = sample.last_ms + DAY_MS
            self._due.put_nowait(monitor.model)

    async def run(self) -> None:
        """Check models as they become due, one at a time, forever."""
        while True:
            name = await self._due.get()
            if name not in self._monitors:
                continue
            try:
                outcome = await self._check(self._monitors[name], self._samples[name].copied())
            except Exception:
                # a storage, a detector of others, the broker: whatever it is, judging goes on
                logger.exception("Model %s could not be retrained; the previous one stays in use", name)
                outcome = FAILED
            self.outcomes[name, outcome] += 1

    async def _check(self, monitor: MonitorPlan, sample: PanelSample) -> str:
        # Closing the trainer ends a training at once, also where this task is cancelled.
        with self._trainer() as trainer:
            announcement = await asyncio.to_thread(self._retrained, monitor, sample, trainer)
        if announcement is None:
            return UNCHANGED
        await self._announce(announcement)
        logger.info("Model %s %s is trained, as shadow", monitor.model, announcement.version)
        return TRAINED

    def _retrained(self, monitor: MonitorPlan, sample: PanelSample, trainer: Trainer) -> Announcement | None:
        """Train if it is needed; None if a model still fits."""
        panel = sample.panel()
        registry = self._registry()
        drifts = _drifts(registry, monitor.model, panel)
        if drifts and not all(drift.retrain for drift in drifts):
            return None
        reason = "; ".join(drifts[0].reasons) if drifts else "there was no model"
        stored = train_model(
            registry,
            trainer,
            panel,
            name=monitor.model,
            detector=monitor.detector,
            settings=dict(monitor.settings),
            holdout=HOLDOUT,
            note=f"trained by a worker: {reason}",
        )
        announcement = registry.appoint(monitor.model, "shadow", stored.version, by="worker", reason=reason)
        registry.prune(monitor.model, KEPT_VERSIONS)
        return announcement


def _drifts(registry: Registry, name: str, panel: Panel) -> list[Drift]:
    """How the panel differs from what the champion learnt from, and from what the shadow did."""
    versions = [registry.pointer(name, role).version for role in ROLES]
    return [
        drift_of(registry.manifest(name, version).sample, panel.features, panel.values)
        for version in versions
        if version is not None
    ]
