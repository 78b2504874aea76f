"""The decoders of OpenTelemetry's protocol: metrics, logs and spans, in protobuf and in JSON."""

from __future__ import annotations

from streams.decode.batch import COUNTER_LOOKBACK_MS, Decoder, Layout
from streams.decode.otlp_proto import ProtoMetrics


def make_proto(layout: Layout) -> Decoder:
    return ProtoMetrics(layout, COUNTER_LOOKBACK_MS)
