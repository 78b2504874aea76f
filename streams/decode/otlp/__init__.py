"""OTLP in protobuf and in JSON: exports of spans, logs and metrics in, an `EventBatch` out.

May import what `decode` may.
"""
