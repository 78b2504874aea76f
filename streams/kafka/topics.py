"""The topics of an app: their names, and how they are made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import InvalidReplicationFactorError, TopicAlreadyExistsError, for_code

from models.calendar.units import DAY_MS, HOUR_MS

logger = logging.getLogger(__name__)


class TopicError(Exception):
    """A topic cannot be written or read; says at which broker and why."""


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of an app's own topics."""

    app: str

    @property
    def partials(self) -> str:
        """Cumulative counts per source partition; read by the window stage."""
        return f"{self.app}-partials"

    @property
    def blocks(self) -> str:
        """Sealed buckets, compacted; read at a restart."""
        return f"{self.app}-blocks"

    @property
    def slis(self) -> str:
        """SLIs once a minute of event time, JSON."""
        return f"{self.app}-slis"

    @property
    def alerts(self) -> str:
        """Every change of an alert's state, JSON, natural key (fingerprint, state, start)."""
        return f"{self.app}-alerts"

    @property
    def anomalies(self) -> str:
        """What detectors have flagged, with what drove it, JSON, natural key as for alerts."""
        return f"{self.app}-anomalies"

    @property
    def forecasts(self) -> str:
        """Forecasts of limited resources and what they say, JSON, by resource and series."""
        return f"{self.app}-forecasts"

    @property
    def incidents(self) -> str:
        """Anomalies and alerts that belong together, JSON, compacted by incident."""
        return f"{self.app}-incidents"

    @property
    def labels(self) -> str:
        """Labels that people give to anomalies, JSON, compacted by their subject; read by every worker."""
        return f"{self.app}-labels"

    @property
    def models(self) -> str:
        """Which version of each model is in charge, JSON, compacted by model and role; read by all."""
        return f"{self.app}-models"

    @property
    def dead_letters(self) -> str:
        """Records with events that could not be counted in their own bucket, unchanged."""
        return f"{self.app}-dead-letters"

    @property
    def informing(self) -> Sequence[str]:
        """Those that are written for others to read, and from which nothing is restored."""
        return self.slis, self.alerts, self.anomalies, self.forecasts, self.incidents

    @property
    def compacted(self) -> frozenset[str]:
        """Those whose newest record of each key is kept for ever."""
        return frozenset({self.blocks, self.incidents, self.labels, self.models})

    @property
    def written_by_partition(self) -> frozenset[str]:
        """Those whose records go to the partition that has the number of their partition of the partials."""
        return frozenset({self.blocks, *self.informing})

    @property
    def settings(self) -> dict[str, dict[str, str]]:
        """All of them, with the settings that they are created with, by Kafka's names."""
        return {
            self.partials: {"cleanup.policy": "delete", "retention.ms": str(DAY_MS)},
            self.blocks: {
                "cleanup.policy": "compact",
                "segment.ms": str(HOUR_MS),
                "min.cleanable.dirty.ratio": "0.2",
            },
            self.slis: {"cleanup.policy": "delete"},
            self.alerts: {"cleanup.policy": "delete", "retention.ms": str(30 * DAY_MS)},
            self.anomalies: {"cleanup.policy": "delete", "retention.ms": str(30 * DAY_MS)},
            self.forecasts: {"cleanup.policy": "delete", "retention.ms": str(30 * DAY_MS)},
            self.incidents: {"cleanup.policy": "compact"},
            self.labels: {"cleanup.policy": "compact"},
            self.models: {"cleanup.policy": "compact"},
            self.dead_letters: {"cleanup.policy": "delete"},
        }

    def wanted(self, partitions: int, replication: int) -> list[NewTopic]:
        """All of them, as they are created where they are missing."""
        return [
            NewTopic(name, partitions, replication, topic_configs=config)
            for name, config in self.settings.items()
        ]


async def create_topics(client: dict[str, Any], wanted: Sequence[NewTopic]) -> None:
    """Create the topics that are missing; those that exist are left as they are.

    client : arguments of an aiokafka client
    Raises TopicError where the broker refuses, KafkaError where it is away.
    """
    admin = AIOKafkaAdminClient(**client)
    await admin.start()
    try:
        await create_missing(admin, wanted, await admin.list_topics())
    finally:
        await admin.close()


async def create_missing(
    admin: AIOKafkaAdminClient, wanted: Sequence[NewTopic], existing: Collection[str]
) -> list[str]:
    """Create what does not exist, and return its names. Raises TopicError where the broker refuses."""
    missing = [topic for topic in wanted if topic.name not in existing]
    if not missing:
        return []
    response = await admin.create_topics(missing)
    for name, code, *reason in response.topic_errors:
        error = for_code(code)
        if error is InvalidReplicationFactorError:
            brokers = len((await admin.describe_cluster())["brokers"])
            raise TopicError(
                f"topic {name} cannot be created: expected at least as many brokers as broker.replication "
                f"{missing[0].replication_factor}, found {brokers}. Set broker.replication to {brokers}, "
                "or add brokers"
            )
        if code != 0 and error is not TopicAlreadyExistsError:
            raise TopicError(
                f"topic {name} cannot be created: {' '.join(filter(None, reason)) or error.__name__}"
            )
    names = [topic.name for topic in missing]
    logger.info("Created topics %s", ", ".join(names))
    return names


async def wait_for_topics(client: dict[str, Any], names: Sequence[str]) -> None:
    """Return once all topics exist, saying meanwhile which are missing."""
    admin = AIOKafkaAdminClient(**client)
    await admin.start()
    try:
        waited = 0
        while missing := sorted(set(names) - set(await admin.list_topics())):
            if waited % 10 == 0:
                logger.warning(
                    "Waiting for topics that do not exist yet: %s. Create them, or correct `topic` in the "
                    "configuration.",
                    ", ".join(missing),
                )
            waited += 1
            await asyncio.sleep(1.0)
    finally:
        await admin.close()
