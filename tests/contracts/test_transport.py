"""What the transport relies on in aiokafka and Faust, so that an upgrade that changes it fails here first.

Behaviour where it can be had without a broker, the source where it cannot: an attribute that a library
keeps for itself may vanish with any release. What follows from it is tested in test_delivery.py.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import aiokafka
import faust
import pytest
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer as BaseConsumer
from faust.transport.consumer import ThreadDelegateConsumer
from faust.transport.drivers import aiokafka as driver
from hypothesis import given
from hypothesis import strategies as st
from mode.threads import QueueServiceThread

from streams.kafka.transport import Batch, BatchConsumer, BatchRecords, BatchTransport, join_batches

TP = TopicPartition("requests", 3)
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def record_batch(offsets: Sequence[int], codec: str = "none") -> bytes:
    """A stored batch of these offsets, ascending; compaction leaves gaps between them."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=CODECS[codec],
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    for offset in offsets:
        builder.append(offset - offsets[0], 1_000 + offset, b"key", b"value %d" % offset, [])
    data = builder.build()
    data[:8] = offsets[0].to_bytes(8, "big")
    return bytes(data)


def plain_records(log: bytes, fetch_offset: int, **changed: Any) -> PartitionRecords:
    settings = {
        "tp": TP,
        "records": MemoryRecords(log),
        "aborted_transactions": [],
        "fetch_offset": fetch_offset,
        "key_deserializer": None,
        "value_deserializer": None,
        "check_crcs": True,
        "isolation_level": 1,
        **changed,
    }
    return PartitionRecords(**settings)


def batches_of(log: bytes, fetch_offset: int, **changed: Any) -> list[Batch]:
    batched = BatchRecords.of(plain_records(log, fetch_offset, **changed), exact_timestamps=True)
    return [record.value for record in batched]


def test_partition_records_are_made_and_read_as_we_do_it() -> None:
    assert parameters(PartitionRecords.__init__)[1:] == [
        "tp",
        "records",
        "aborted_transactions",
        "fetch_offset",
        "key_deserializer",
        "value_deserializer",
        "check_crcs",
        "isolation_level",
    ]
    plain = plain_records(record_batch([5, 6]), 5)
    assert {
        "_tp",
        "_records",
        "_check_crcs",
        "_isolation_level",
        "_aborted_producers",
        "_records_iterator",
        "next_fetch_offset",
    } <= set(vars(plain))
    assert inspect.isgeneratorfunction(PartitionRecords._unpack_records)
    # The class keeps no state beside its dictionary, which is what `of` copies.
    assert not hasattr(PartitionRecords, "__slots__")


@given(
    steps=st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=6), min_size=1, max_size=5),
    start=st.integers(0, 60),
    codec=st.sampled_from(sorted(CODECS)),
)
def test_batches_hold_what_plain_records_hold(steps: list[list[int]], start: int, codec: str) -> None:
    """Values, offsets, timestamps and the fetch position, from any offset on, with gaps and without."""
    log, last = b"", -1
    for batch in steps:
        offsets = [last := last + step for step in batch]
        log += record_batch(offsets, codec)
    start = min(start, last)
    plain = plain_records(log, start)
    expected = [(record.offset, record.timestamp, record.value) for record in plain]
    batches = batches_of(log, start)
    assert batches[0].start == start
    assert all(before.next_offset == after.start for before, after in pairwise(batches))
    whole = join_batches(batches)
    records = whole.records
    found = list(zip(records.offsets.tolist(), records.timestamps_ms.tolist(), records.values, strict=True))
    assert found == expected
    assert (whole.start, whole.next_offset) == (start, plain.next_fetch_offset) == (start, last + 1)


def test_a_damaged_batch_is_refused() -> None:
    log = bytearray(record_batch([0, 1]))
    log[-3] ^= 1
    with pytest.raises(CorruptRecordException):
        batches_of(bytes(log), 0)
    assert batches_of(bytes(log), 0, check_crcs=False)


def test_a_fetch_result_holds_partition_records_under_the_name_that_we_replace() -> None:
    plain = plain_records(record_batch([0]), 0)
    result = FetchResult(TP, assignment=None, partition_records=plain, backoff=0.1)
    assert result._partition_records is plain
    # What it gives out, and where the next fetch begins, come from there alone.
    assert "self._partition_records.next_fetch_offset" in inspect.getsource(FetchResult._update_position)
    assert "for msg in self._partition_records" in inspect.getsource(FetchResult.getall)


async def test_the_fetcher_keeps_results_in_a_mapping_that_we_replace() -> None:
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1")
    fetcher = Fetcher(consumer._client, consumer._subscription)
    try:
        assert type(fetcher._records) is OrderedDict
    finally:
        await fetcher.close()
    source = inspect.getsource(Fetcher._proc_fetch_request)
    assert "self._records[tp] = FetchResult(" in source
    assert "self._records = " not in inspect.getsource(Fetcher).replace("self._records = collections", "")


def test_the_coordinator_keeps_a_fatal_error_where_we_look_for_it() -> None:
    source = inspect.getsource(GroupCoordinator)
    assert "self._pending_exception = exc" in source
    assert "self._coordination_task = create_task(" in source
    assert parameters(GroupCoordinator._push_error_to_user) == ["self", "exc"]


def test_the_driver_asks_our_consumer_thread() -> None:
    assert parameters(driver.AIOKafkaConsumerThread._create_worker_consumer) == ["self", "transport"]
    assert "self._create_worker_consumer(" in inspect.getsource(
        driver.AIOKafkaConsumerThread._create_consumer
    )
    assert "self._consumer = self._create_consumer(" in inspect.getsource(
        driver.AIOKafkaConsumerThread.on_start
    )
    assert "_new_consumer_thread()" in inspect.getsource(ThreadDelegateConsumer.__init__)
    assert parameters(ThreadDelegateConsumer._getmany) == ["self", "active_partitions", "timeout"]
    assert "await self._getmany(" in inspect.getsource(BaseConsumer._wait_next_records)
    # Records are handed on as they are: a message's value is the record's.
    assert "record.value" in inspect.getsource(driver.Consumer._to_message)


def test_a_call_is_run_in_the_thread_of_the_queue() -> None:
    assert issubclass(driver.AIOKafkaConsumerThread, QueueServiceThread)
    assert parameters(QueueServiceThread.call_thread) == ["self", "fun", "args", "kwargs"]


def test_faust_asks_the_read_offset_by_item_and_drops_what_lies_below() -> None:
    source = inspect.getsource(BaseConsumer._drain_messages)
    assert "self._read_offset.__getitem__" in source
    assert "self._read_offset.__setitem__" in source
    assert "r_offset is None or offset >= r_offset" in source


def test_a_rebalance_is_complete_before_faust_would_seek_and_let_messages_flow() -> None:
    source = inspect.getsource(Recovery._resume_streams)
    steps = ["on_rebalance_complete.send()", "consumer.perform_seek()", "consumer.resume_flow()"]
    places = [source.index(step) for step in steps]
    assert places == sorted(places)


def test_offsets_of_topics_without_acks_are_not_tracked() -> None:
    app = faust.App("contract", broker="aiokafka://127.0.0.1:1", autodiscover=False)
    assert app.topic("requests", acks=False).acks is False
    assert "acks_enabled_for(message.topic)" in inspect.getsource(BaseConsumer._drain_messages)


def test_the_producer_takes_its_settings_from_the_methods_that_we_override() -> None:
    source = inspect.getsource(driver.Producer._new_producer)
    assert source.index("self._settings_auth()") < source.index("self._settings_extra()")


def test_an_app_takes_the_transport_that_it_is_given() -> None:
    app = faust.App("contract", broker="aiokafka://127.0.0.1:1", autodiscover=False)
    transport = BatchTransport(app.conf.broker, app, client_arguments=dict)
    app.transport = transport
    assert app.transport is transport
    assert isinstance(app.consumer, BatchConsumer)
    assert "transport.create_consumer" in inspect.getsource(type(app)._new_consumer)


async def test_a_client_asks_for_metadata_by_a_name_that_we_replace() -> None:
    """So that asking about a topic never has the broker make it."""
    from aiokafka.client import AIOKafkaClient

    import streams.kafka.client  # noqa: F401

    assert "MetadataRequest(" in inspect.getsource(AIOKafkaClient._metadata_update)
    request = aiokafka.client.MetadataRequest(["requests"]).prepare({3: (0, 13)})
    assert request.allow_auto_topic_creation is False


def test_the_coordinator_rejoins_when_asked_and_gives_notes_with_offsets() -> None:
    assert parameters(GroupCoordinator.request_rejoin) == ["self"]
    assert "OffsetAndMetadata(offset, metadata)" in inspect.getsource(
        GroupCoordinator._do_fetch_commit_offsets
    )
