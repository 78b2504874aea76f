"""The app's own topics as a worker needs them: created where they are missing, checked where they exist.

What is wrong is either repaired, where nothing can be lost by it, or named: which topic, what was expected,
what was found, what to do. Settings of topics that only people read (alerts, SLIs, …) are theirs to choose.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import ClusterAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError

from models.calendar.units import HOUR_MS
from streams.kafka.topics import TopicError, Topics, create_missing

__all__ = ["MESSAGE_BYTES_MIN", "PARTIALS_RETENTION_MS_MIN", "Found", "ensure_topics", "mistakes_in"]

logger = logging.getLogger(__name__)

MESSAGE_BYTES_MIN = 1 << 20
"""The largest request that a worker's producer sends."""

PARTIALS_RETENTION_MS_MIN = HOUR_MS
"""Partials are read within seconds, and again after a restart; a worker that was down longer loses counts."""


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as the broker describes it.

    replicas : of the partition that has the fewest
    settings : by Kafka's names; empty where the broker does not let us see them
    is_empty : whether it has never held a record; only asked of a topic whose partitions are not as expected
    """

    name: str
    partitions: int
    replicas: int
    settings: Mapping[str, str]
    is_empty: bool = True


def mistakes_in(topics: Topics, found: Mapping[str, Found]) -> list[str]:
    """A sentence for each setting with which a worker cannot work, of topics that are all there."""
    partials = found[topics.partials].partitions
    said = [mistake for topic in found.values() for mistake in _wrong_settings(topics, topic)]
    blocks = found[topics.blocks]
    if blocks.partitions != partials and not blocks.is_empty:
        said.insert(
            0,
            f"topic {blocks.name}: expected {partials} partitions, as {topics.partials} has, found "
            f"{blocks.partitions}. The number must never change, since series are assigned by it. Stop all "
            "workers and delete both topics: they are made anew at the next start, and windows start empty",
        )
    return said


def _wrong_settings(topics: Topics, topic: Found) -> Iterable[str]:
    settings = topic.settings
    policy = settings.get("cleanup.policy")
    if topic.name in topics.compacted and policy not in (None, "compact"):
        yield _to_set(
            topic.name, "cleanup.policy", "compact", policy, "what it holds would be deleted by its age"
        )
    if topic.name == topics.partials and policy is not None and "compact" in policy:
        yield _to_set(topic.name, "cleanup.policy", "delete", policy, "its records have no keys")
    if topic.name == topics.partials:
        retention = int(settings.get("retention.ms", -1))
        if 0 <= retention < PARTIALS_RETENTION_MS_MIN:
            yield _to_set(
                topic.name,
                "retention.ms",
                topics.settings[topic.name]["retention.ms"],
                f"{retention}",
                "a restart would miss counts",
                bound=f"at least {PARTIALS_RETENTION_MS_MIN}",
            )
    largest = int(settings.get("max.message.bytes", MESSAGE_BYTES_MIN))
    if largest < MESSAGE_BYTES_MIN:
        yield _to_set(
            topic.name,
            "max.message.bytes",
            f"{MESSAGE_BYTES_MIN}",
            f"{largest}",
            "records of a worker can be as large",
            bound=f"at least {MESSAGE_BYTES_MIN}",
        )
    in_sync = int(settings.get("min.insync.replicas", 1))
    if in_sync > topic.replicas:
        yield _to_set(
            topic.name,
            "min.insync.replicas",
            f"{topic.replicas}",
            f"{in_sync}",
            f"it has {topic.replicas} replicas, so nothing could be written",
            bound=f"at most {topic.replicas}",
        )


def _to_set(
    name: str, setting: str, value: str, found: str, because: str, *, bound: str | None = None
) -> str:
    """What is wrong with one setting, and the command that sets it right."""
    return (
        f"topic {name}: expected {setting} {bound or value}, found {found}: {because}. Set it: "
        f"kafka-configs.sh --bootstrap-server … --alter --entity-type topics --entity-name {name} "
        f"--add-config {setting}={value}"
    )


async def ensure_topics(
    client: dict[str, Any], topics: Topics, *, partitions: int, replication: int, again: bool = False
) -> list[str]:
    """Create what is missing, repair what can be, and return the topics that were made.

    Topics are made with as many partitions as `<app>-partials` has, or else blocks that hold something.
    Topics that have fewer are given more, but for blocks that hold something.

    client                  : arguments of an aiokafka client
    partitions, replication : of the configuration
    again                   : warnings have been given before
    Raises TopicError, a sentence a line, where something is wrong; KafkaError or OSError where the broker is
    away.
    """
    admin = AIOKafkaAdminClient(**client)
    await admin.start()
    try:
        found = await _found(admin, set(await admin.list_topics()) & set(topics.settings))
        blocks = found.get(topics.blocks)
        if topics.partials in found:
            partitions = found[topics.partials].partitions
        if blocks is not None and blocks.partitions != partitions:
            blocks = found[blocks.name] = replace(blocks, is_empty=await _is_empty(client, blocks))
            if topics.partials not in found and not blocks.is_empty:
                partitions = blocks.partitions
        wanted = topics.wanted(partitions, replication)
        made = await create_missing(admin, wanted, found)
        for name in made:
            found[name] = Found(name, partitions, replication, topics.settings[name])
        await _add_partitions(admin, topics, found, partitions)
    finally:
        await admin.close()
    mistakes = mistakes_in(topics, found)
    if mistakes:
        raise TopicError("\n".join(mistakes))
    fewer = [topic.name for topic in found.values() if topic.replicas < replication]
    if fewer and not again:
        logger.warning(
            "Expected %d replicas, as broker.replication says, found fewer: topics %s. Counts are right as "
            "long as these are not lost; kafka-reassign-partitions.sh adds replicas",
            replication,
            ", ".join(fewer),
        )
    return made


async def _found(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, Found]:
    described = await admin.describe_topics(sorted(names)) if names else []
    settings = await _settings(admin, names)
    return {
        each["topic"]: Found(
            each["topic"],
            len(each["partitions"]),
            min(len(partition["replicas"]) for partition in each["partitions"]),
            settings.get(each["topic"], {}),
        )
        for each in described
        if each["partitions"]
    }


async def _is_empty(client: dict[str, Any], topic: Found) -> bool:
    places = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    async with AIOKafkaConsumer(**client, enable_auto_commit=False) as consumer:
        return not any((await consumer.end_offsets(places)).values())


async def _settings(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Settings by topic; without those that ACLs or the broker keep from us."""
    wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    try:
        answers = await admin.describe_configs(wanted) if wanted else []
    except (ClusterAuthorizationFailedError, TopicAuthorizationFailedError, NotImplementedError):
        return {}
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for answer in answers
        for error, _message, _kind, name, entries in answer.resources
        if error == 0
    }


async def _add_partitions(
    admin: AIOKafkaAdminClient, topics: Topics, found: dict[str, Found], partitions: int
) -> None:
    """Give topics the partitions that they lack, where each record is sent to the partition of its series."""
    for name in sorted(topics.written_by_partition):
        topic = found[name]
        if topic.partitions >= partitions or (name == topics.blocks and not topic.is_empty):
            continue
        try:
            await admin.create_partitions({name: NewPartitions(partitions)})
        except KafkaError as error:
            raise TopicError(
                f"topic {name}: expected {partitions} partitions, as {topics.partials} has, found "
                f"{topic.partitions}, and none can be added: {str(error) or type(error).__name__}"
            ) from error
        logger.warning(
            "Topic %s had %d partitions, and has been given %d", name, topic.partitions, partitions
        )
        found[name] = replace(topic, partitions=partitions)
