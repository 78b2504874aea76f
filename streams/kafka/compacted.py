"""Single records on an app's compacted topics, as commands write them."""

from __future__ import annotations

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from models.registry.manifest import Announcement
from streams.config.models import Config
from streams.kafka.client import client_arguments
from streams.kafka.topics import TopicError, Topics, create_topics

__all__ = ["TopicError", "announce", "send_record"]


async def send_record(config: Config, topic: str, key: bytes, value: bytes) -> None:
    """Write one record, acknowledged by all replicas; a missing topic is made as a worker makes it.

    topic : one of the app's own
    Raises TopicError.
    """
    client = client_arguments(config)
    own = Topics(config.app).wanted(config.broker.partitions, config.broker.replication)
    try:
        await create_topics(client, [wanted for wanted in own if wanted.name == topic])
        idempotence = config.broker.idempotence
        async with AIOKafkaProducer(**client, acks="all", enable_idempotence=idempotence) as producer:
            await producer.send_and_wait(topic, value, key=key)
    except KafkaError as error:
        servers = ", ".join(client["bootstrap_servers"])
        raise TopicError(
            f"topic {topic} at {servers} cannot be written: {str(error) or type(error).__name__}"
        ) from error


async def announce(config: Config, announcement: Announcement) -> None:
    """Tell all workers that a role changed. Raises TopicError."""
    topic = Topics(config.app).models
    await send_record(config, topic, announcement.key, announcement.to_bytes())
