"""A transport for Faust that works in batches: one message holds what one fetch returned of a partition.

A plain consumer makes one object per record, and Faust a task switch for each; here the records of all
broker batches of a fetch travel as one `Batch`. Faust still does group membership,
assignment, agents and their buffers.

Delivery is never trusted. Between an assignment and the first seek, and for a while after a rebalance,
the driver may drop, repeat or deliver old batches, so each says where it starts and ends, and the reader
counts a batch only if it continues what it has (`Position.admit`). Every seek and commit runs in the
consumer's own thread.

The internals of aiokafka and Faust that this relies on are pinned by tests/contracts/test_transport.py.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Literal

import aiokafka
import numpy as np
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    InvalidSessionTimeoutError,
    KafkaError,
)
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from mode import Service

from streams.events.batch import Records
from streams.kafka.client import METADATA_AGE_S
from streams.kafka.starts import Note, Start, choose_starts
from streams.kafka.topic_ids import topic_ids

FETCH_WAIT_MS = 100
"""How long the broker holds a fetch of drained partitions. The driver's 1.5 s would hold up all other
partitions of the node too, since aiokafka keeps one fetch per node in flight."""


WATCH_EVERY_S = 1.0
"""How often the consumer checks whether its group can still be joined."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The records of one partition that one fetch returned.

    start       : fetch position before it; the log holds nothing that counts between the end of the
                  batch before and this (compaction and control records leave no hole)
    next_offset : fetch position after it
    """

    topic: str
    partition: int
    start: int
    next_offset: int
    records: Records


STALL_S = 5.0
"""How long fetched records may take to reach a stage. If a queue is merely long, seeking back is wasted work,
and the repeats are dropped."""


class Admission(Enum):
    """What to do with a batch."""

    COUNT = "count"
    REPEAT = "repeat"
    GAP = "gap"


@dataclass(slots=True)
class Position:
    """How far a reader of a partition has come, and when it last asked to seek back.

    Rule: a batch that ends at or before `at` is a repeat; one that starts after `at` leaves a gap, so
    nothing of it is counted and the consumer is set back to `at`, once in `patience_s`.
    """

    at: int
    asked_at_s: float = -1e9
    patience_s: float = 1.0

    def admit(self, start: int, next_offset: int) -> Admission:
        if next_offset <= self.at:
            return Admission.REPEAT
        return Admission.GAP if start > self.at else Admission.COUNT

    def is_stalled(self, fetched_to: int | None, now_s: float, heard_s: float) -> bool:
        """Whether the consumer has fetched beyond `at` but nothing was received for `STALL_S`.

        If the last batch before a log falls silent is dropped, no later batch reveals the gap.

        fetched_to : the consumer's own fetch position, None if it has none
        heard_s    : when a batch was last counted here
        """
        return fetched_to is not None and fetched_to > self.at and now_s - heard_s >= STALL_S

    def may_ask(self, now_s: float) -> bool:
        """Whether to seek back now; true once in `patience_s`."""
        if now_s - self.asked_at_s < self.patience_s:
            return False
        self.asked_at_s = now_s
        return True


class BatchRecords(PartitionRecords):  # type: ignore[misc]
    """Gives one record per broker batch, whose value is a `Batch`."""

    next_fetch_offset: int

    _exact_timestamps: bool

    @classmethod
    def of(cls, plain: PartitionRecords, *, exact_timestamps: bool) -> BatchRecords:
        """The same fetched records, which must not have been read from."""
        batched = cls.__new__(cls)
        batched.__dict__.update(plain.__dict__)
        batched._exact_timestamps = exact_timestamps
        batched._records_iterator = batched._unpack_records()
        return batched

    def _unpack_records(self) -> Iterator[ConsumerRecord]:
        """As in the base class: CRC, aborted transactions, control records, offsets below the wanted one."""
        tp = self._tp
        start = self.next_fetch_offset
        while self._records.has_next():
            batch = self._records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                raise aiokafka.errors.CorruptRecordException(f"Invalid CRC - {tp}")
            if self._is_content(batch):
                records = _records_of(batch, self.next_fetch_offset, exact_timestamps=self._exact_timestamps)
                self.next_fetch_offset = batch.next_offset
                if len(records):
                    yield self._joined_record(start, records)
                    start = self.next_fetch_offset
            else:
                self.next_fetch_offset = batch.next_offset
        if self.next_fetch_offset > start:
            none = np.zeros(0, dtype=np.int64)
            yield self._joined_record(start, Records((), none, none))

    def _is_content(self, batch: Any) -> bool:
        if self._isolation_level == 1 and batch.producer_id is not None:  # read_committed
            self._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and self._contains_abort_marker(batch):
                self._aborted_producers.discard(batch.producer_id)
            if batch.is_transactional and batch.producer_id in self._aborted_producers:
                return False
        return not batch.is_control_batch

    def _joined_record(self, start: int, records: Records) -> ConsumerRecord:
        tp = self._tp
        value = Batch(tp.topic, tp.partition, start, self.next_fetch_offset, records)
        return ConsumerRecord(
            tp.topic, tp.partition, self.next_fetch_offset - 1, 0, 0, None, value, None, -1, -1, ()
        )


def _records_of(batch: Any, wanted: int, *, exact_timestamps: bool) -> Records:
    """Records of a broker batch from offset `wanted` on.

    Asking each record for its offset and timestamp costs twice as much as all the rest. A batch that holds
    as many records as it spans offsets has no gaps; and where events tell their own time, the batch's
    newest timestamp will do for all of its records, since it only bounds times in the future.
    """
    kept = list(batch)
    first, count = batch.base_offset, batch.next_offset - batch.base_offset
    if len(kept) == count:
        kept = kept[max(0, wanted - first) :]
        offsets = np.arange(max(first, wanted), batch.next_offset)
    else:
        kept = [record for record in kept if record.offset >= wanted]
        offsets = np.fromiter((record.offset for record in kept), np.int64, len(kept))
    values = [record.value for record in kept]
    if exact_timestamps:
        timestamps = np.fromiter((record.timestamp for record in kept), np.int64, len(kept))
    else:
        timestamps = np.full(len(kept), batch.max_timestamp, dtype=np.int64)
    return Records(values, offsets, timestamps)


class _FetchedRecords(OrderedDict[TopicPartition, Any]):
    """The fetcher's buffer of results, each turned into batches as it is put in.

    timed_by_events : topics whose events tell their own time
    """

    def __init__(self, timed_by_events: Collection[str]) -> None:
        super().__init__()
        self._timed_by_events = timed_by_events

    def __setitem__(self, tp: TopicPartition, result: Any) -> None:
        if type(result) is FetchResult:
            result._partition_records = BatchRecords.of(
                result._partition_records, exact_timestamps=tp.topic not in self._timed_by_events
            )
        super().__setitem__(tp, result)


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Consecutive batches of one partition as one."""
    if len(batches) == 1:
        return batches[0]
    first, last = batches[0], batches[-1]
    records = Records(
        [value for batch in batches for value in batch.records.values],
        np.concatenate([batch.records.offsets for batch in batches]),
        np.concatenate([batch.records.timestamps_ms for batch in batches]),
    )
    return Batch(first.topic, first.partition, first.start, last.next_offset, records)


class BatchConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The driver's consumer thread with a fetcher that keeps batches together."""

    async def on_start(self) -> None:
        await super().on_start()
        self._ensure_consumer()._fetcher._records = _FetchedRecords(self.transport.timed_by_events)

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        """As the driver does, but for the wait of a fetch, and with the connection of our configuration."""
        conf = self.app.conf
        self._assignor = RoundRobinPartitionAssignor
        return aiokafka.AIOKafkaConsumer(
            **transport.client_arguments(),
            client_id=conf.broker_client_id,
            group_id=conf.id,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            isolation_level="read_committed",  # records of aborted transactions are not events
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
        )


class _AnyOffset(dict[Any, Any]):
    """Faust's record of what it has read, emptied: it would drop what a seek back brings again."""

    def __getitem__(self, tp: Any) -> None:
        return None

    def __setitem__(self, tp: Any, offset: Any) -> None:
        pass


class BatchConsumer(driver.Consumer):  # type: ignore[misc]
    """Consumer whose messages are `Batch`es, and whose positions are ours alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _AnyOffset()
        self._ids: dict[str, str] = {}
        self._first: dict[str, int] = {}
        """Ids of the topics as of the assignment, and `Note.first` of their commits."""
        self._known: set[str] = set()
        """Topics that had partitions at an assignment before."""

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(
        self,
        active_partitions: set[Any] | None,
        timeout: float,  # noqa: ASYNC109
    ) -> Mapping[Any, Any]:
        fetched = await super()._getmany(active_partitions, timeout)
        joined = {}
        for tp, records in fetched.items():
            whole = join_batches([record.value for record in records])
            joined[tp] = [replace(records[-1], value=whole)]
        return joined

    async def perform_seek(self) -> None:
        """Nothing: `seek_to_start` is called once a rebalance is complete, and gaps heal themselves."""

    async def seek_to_start(
        self, begin_at: Callable[[str], Literal["earliest", "latest"]]
    ) -> dict[TopicPartition, Start]:
        """Set every assigned partition to where it is to be read from, see `choose_starts`.

        begin_at : where a topic begins that is read for the first time; what is not the committed offset is
                   committed at once, so that later records are read even if this worker exits before its
                   first flush
        """
        starts: dict[TopicPartition, Start] = await self._thread.call_thread(self._seek_to_start, begin_at)
        return starts

    async def _seek_to_start(
        self, begin_at: Callable[[str], Literal["earliest", "latest"]]
    ) -> dict[TopicPartition, Start]:
        consumer = self._thread._ensure_consumer()
        assigned = set(consumer.assignment())
        topics = {tp.topic for tp in assigned}
        ids = await topic_ids(consumer._client, consumer.subscription())
        there = {topic: self.partition_count(topic) for topic in consumer.subscription()}
        every = {TopicPartition(topic, number) for topic in topics for number in range(there[topic])}
        committed = await consumer._coordinator.fetch_committed_offsets(list(assigned | every))
        begins = await consumer.beginning_offsets(list(assigned))
        ends = await consumer.end_offsets(list(assigned))
        starts: dict[TopicPartition, Start] = {}
        for topic in topics:
            mine = [tp for tp in assigned if tp.topic == topic]
            chosen, first = choose_starts(
                topic,
                mine,
                {tp: at for tp, at in committed.items() if tp.topic == topic},
                {tp: (begins[tp], ends[tp]) for tp in mine},
                topic_id=ids.get(topic, ""),
                partition_count=there[topic],
                known=topic in self._known,
                first_start=begin_at(topic),
            )
            starts.update(chosen)
            self._first[topic] = first
        self._ids = ids
        self._known |= {topic for topic, count in there.items() if count}
        for tp, start in starts.items():
            consumer.seek(tp, start.offset)
        fresh = {tp: start.offset for tp, start in starts.items() if start.reason != "committed"}
        await self._commit_offsets(fresh, {})
        return starts

    async def seek_back(self, tp: tuple[str, int], at: int) -> int | None:
        """Set one partition back to `at`.

        Returns None, or, if the log no longer reaches back that far, the first offset that it still has.
        """
        result: int | None = await self._thread.call_thread(self._seek_back, TopicPartition(*tp), at)
        return result

    async def _seek_back(self, tp: TopicPartition, at: int) -> int | None:
        consumer = self._thread._ensure_consumer()
        if tp not in consumer.assignment():
            return None
        beginning = int((await consumer.beginning_offsets([tp]))[tp])
        if tp in consumer.assignment():
            consumer.seek(tp, max(at, beginning))
        return beginning if beginning > at else None

    async def commit_offsets(
        self, offsets: Mapping[tuple[str, int], int], read: Mapping[tuple[str, int], int] | None = None
    ) -> bool:
        """Commit; False if the partition has a new owner, which the former one can ignore.

        read : below them all was read; the committed offsets themselves if not given
        """
        wanted = {TopicPartition(*tp): at for tp, at in offsets.items()}
        below = {TopicPartition(*tp): at for tp, at in (read or {}).items()}
        done: bool = await self._thread.call_thread(self._commit_offsets, wanted, below)
        return done

    async def _commit_offsets(
        self, offsets: dict[TopicPartition, int], read: Mapping[TopicPartition, int]
    ) -> bool:
        consumer = self._thread._ensure_consumer()
        mine = {
            tp: OffsetAndMetadata(at, self._note(tp, read.get(tp, at)).to_text())
            for tp, at in offsets.items()
            if tp in consumer.assignment()
        }
        try:
            if mine:
                await consumer.commit(mine)
        except (CommitFailedError, IllegalStateError):
            return False
        except KafkaError as error:
            self.log.warning("Commit failed, the next one will carry more: %r", error)
            return False
        return len(mine) == len(offsets)

    def _note(self, tp: TopicPartition, read: int) -> Note:
        # The id as of the assignment: a commit that is late by one deletion belongs to the topic before.
        return Note(self._ids.get(tp.topic, ""), self._first.get(tp.topic, 0), read)

    def partition_count(self, topic: str) -> int:
        """Partitions of a topic as last heard; 0 if the broker has not said, or there is no such topic."""
        found = self._thread._ensure_consumer()._client.cluster.partitions_for_topic(topic)
        return len(found) if found else 0

    def fetch_position(self, tp: tuple[str, int]) -> int | None:
        """Where the consumer will fetch next; None for a partition that is not assigned or not set yet."""
        return fetch_position_of(self._thread._ensure_consumer(), TopicPartition(*tp))

    def end_offset(self, tp: tuple[str, int]) -> int | None:
        """End of a partition's log as of the last fetch."""
        end: int | None = self._thread._ensure_consumer().highwater(TopicPartition(*tp))
        return end

    def standing(self) -> tuple[bool, float]:
        """Whether there is a connection to any broker, and how many seconds ago one told of its topics."""
        consumer = self._thread._consumer
        if consumer is None:
            return False, 0.0
        client = consumer._client
        connected = any(connection.connected() for connection in list(client._conns.values()))
        return connected, time.time() - client.cluster._last_successful_refresh_ms / 1000

    def failure(self) -> BaseException | None:
        """Why the group can never be joined, if so: the driver logs such an error and waits forever.

        It waits for somebody to take note of the error, which Faust never does, as it reads from the fetcher.
        """
        coordinator = getattr(self._thread._consumer, "_coordinator", None)
        if coordinator is None:
            return None
        pending: BaseException | None = coordinator._pending_exception
        task = coordinator._coordination_task
        if pending is None and task.done() and not task.cancelled():
            pending = task.exception()
        return pending

    @Service.task  # type: ignore[untyped-decorator]
    async def _watch_membership(self) -> None:
        """End the process if it can never join. Tasks of the app only start once it has joined."""
        while not self.should_stop:
            failure = self.failure()
            if failure is not None:
                self.log.error("%s", membership_error(failure, self.app.conf))
                await self.crash(failure)
                return
            await self.sleep(WATCH_EVERY_S)

    @Service.task  # type: ignore[untyped-decorator]
    async def _watch_topics(self) -> None:
        """Begin afresh once a topic was deleted and made anew.

        aiokafka only looks at the number of partitions, and would go on where the old log was.
        """
        while not self.should_stop:
            await self.sleep(METADATA_AGE_S / 2)
            with contextlib.suppress(KafkaError, OSError):  # the broker is away
                await self._thread.call_thread(self._rejoin_if_made_anew)

    async def _rejoin_if_made_anew(self) -> None:
        consumer = self._thread._ensure_consumer()
        ids = await topic_ids(consumer._client, self._ids)
        anew = [topic for topic, known in self._ids.items() if ids.get(topic, known) != known]
        if anew:
            self.log.warning("Made anew since they were read first: topics %s", ", ".join(sorted(anew)))
            await self._rejoin()

    async def rejoin(self) -> None:
        """Have the group assign its partitions again."""
        await self._thread.call_thread(self._rejoin)

    async def _rejoin(self) -> None:
        self._thread._ensure_consumer()._coordinator.request_rejoin()


def membership_error(failure: BaseException, conf: Any) -> str:
    """What to tell a user whose worker cannot join its group."""
    if isinstance(failure, InvalidSessionTimeoutError):
        hint = (
            f"The broker refuses broker.session_timeout {conf.broker_session_timeout:g} s: it has to lie "
            "between the broker's group.min.session.timeout.ms (6 s by default) and "
            "group.max.session.timeout.ms"
        )
    elif isinstance(failure, GroupAuthorizationFailedError):
        hint = "The broker's ACLs do not let this user read as this group, which is named by app"
    else:
        hint = "Is another program using this group, which is named by app?"
    return f"Cannot join the consumer group {conf.id}: {failure}. {hint}"


def fetch_position_of(consumer: aiokafka.AIOKafkaConsumer, tp: TopicPartition) -> int | None:
    """Where a consumer will fetch next; None for a partition that is not assigned or not set yet."""
    subscription = consumer._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    if assignment is None or tp not in assignment.tps:
        return None
    state = assignment.state_value(tp)
    return int(state.position) if state.has_valid_position else None


class OrderedProducer(driver.Producer):  # type: ignore[misc]
    """Keeps the order of records within a partition through retries."""

    def _settings_auth(self) -> Mapping[str, Any]:
        arguments: Mapping[str, Any] = self.transport.client_arguments()
        return arguments

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": self.transport.idempotence}


class BatchTransport(driver.Transport):  # type: ignore[misc]
    """Set as `app.transport` before the app starts.

    client_arguments : gives address and security as arguments of an aiokafka client, called for each client
                       and in its own loop
    timed_by_events  : topics whose events tell their own time, so that records' timestamps matter little
    idempotence      : off only for brokers that do not know idempotent producers; aiokafka keeps one
                       batch per partition in flight, so order holds, and a doubled frame does no harm
    """

    Consumer = BatchConsumer
    Producer = OrderedProducer

    def __init__(
        self,
        *args: Any,
        client_arguments: Callable[[], Mapping[str, Any]],
        timed_by_events: Collection[str] = (),
        idempotence: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.client_arguments = client_arguments
        self.timed_by_events = timed_by_events
        self.idempotence = idempotence
