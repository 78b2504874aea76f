"""Families as text: Prometheus' format 0.0.4 and OpenMetrics 1.0.0.

Guarantee: what it writes holds the same samples as the client library's writer for the same families
(a test parses both); label values are escaped, samples without a value are left out, and a family
without samples is left out altogether.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np

from streams.publish.metrics.family import EXEMPLAR_LENGTH_MAX, Block, Family, escape

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def chosen_format(accept: str) -> str:
    """The content type for an `Accept` header: the one of the two that it prefers, text if it names none.

    >>> chosen_format("application/openmetrics-text;version=1.0.0;q=0.75,text/plain;q=0.5") == OPEN_METRICS
    True
    """
    best, best_weight = TEXT, 0.0
    for entry in accept.split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        kind = {"application/openmetrics-text": OPEN_METRICS, "text/plain": TEXT}.get(media)
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        if kind is not None and weight > best_weight:
            best, best_weight = kind, weight
    return best


def written(families: Iterable[Family], content_type: str) -> bytes:
    """All families as one page in the format that `content_type` names."""
    open_metrics = content_type == OPEN_METRICS
    parts: list[str] = []
    for family in families:
        lines: list[str] = []
        for blocks in family.together():
            columns = [_lines(family, block, open_metrics) for block in blocks]
            lines += columns[0] if len(columns) == 1 else chain.from_iterable(zip(*columns, strict=True))
        lines = [line for line in lines if line]
        if lines:
            parts += _head(family, open_metrics)
            parts += lines
    if open_metrics:
        parts.append("# EOF")
    return ("\n".join(parts) + "\n").encode("utf-8", "replace")


def _head(family: Family, open_metrics: bool) -> list[str]:
    name, kind = family.name, str(family.kind)
    text = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
    if open_metrics:
        text = text.replace('"', r"\"")
    else:
        # The older format knows counters by the name of their samples, and neither of these kinds.
        name += {"counter": "_total", "info": "_info"}.get(kind, "")
        kind = {"unknown": "untyped", "info": "gauge"}.get(kind, kind)
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _lines(family: Family, block: Block, open_metrics: bool) -> list[str]:
    """S lines, empty where a series has no sample."""
    tail = ",".join(f'{name}="{escape(value)}"' for name, value in block.extra)
    if tail and (block.labels.names or block.labels.common):
        tail = f",{tail}"
    begin, end = f"{family.name}{block.suffix}{{", f"{tail}}} "
    values, written = block.values.tolist(), block.labels.written
    if open_metrics and block.exemplars:
        ends = [_exemplar(block, row) for row in range(len(values))]
    else:
        ends = [""] * len(values)
    present = block.present()
    if present.all() and (block.values.dtype.kind == "i" or np.isfinite(block.values).all()):
        # Whole numbers and finite floats read the same in Python and in both formats.
        return [
            f"{begin}{labels}{end}{value!r}{last}"
            for labels, value, last in zip(written, values, ends, strict=True)
        ]
    return [
        f"{begin}{labels}{end}{_number(value)}{last}" if there else ""
        for labels, value, last, there in zip(written, values, ends, present.tolist(), strict=True)
    ]


def _number(value: float) -> str:
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def _exemplar(block: Block, row: int) -> str:
    exemplar = block.exemplars.get(row)
    if exemplar is None or len("trace_id") + len(exemplar.trace_id) > EXEMPLAR_LENGTH_MAX:
        return ""
    at = exemplar.time_ms / 1000.0
    return f' # {{trace_id="{escape(exemplar.trace_id)}"}} {_number(exemplar.value)} {at!r}'
