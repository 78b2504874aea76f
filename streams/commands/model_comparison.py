"""Two versions of a model on the same data, run and shown: a part of `shadow` and `diff`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from streams.commands.console import fail, progress_bar, say_json

if TYPE_CHECKING:
    from detectors.api.detector import Panel
    from models.registry.manifest_diff import Change
    from models.registry.registry import Registry


def compare_and_show(
    store: Registry,
    name: str,
    old: str,
    new: str,
    panel: Panel,
    trusted: Sequence[str],
    as_json: bool,
    changes: Sequence[Change] | None = None,
) -> None:
    """Both versions on a panel, and the report of how they differ, below `changes` of their manifests."""
    from streams.commands.model_tables import changes_json, show_changes, show_comparison
    from streams.modelling.compare import compare_models, detector_of

    first, second = (detector_of(store, name, which, trusted) for which in (old, new))
    with progress_bar("steps") as bars:
        bar = bars.add_task("Judging with both", total=len(panel))
        both = compare_models(first, second, panel, lambda steps: bars.advance(bar, steps))
    if both.failure:
        fail(f"{name} {new} fails on this data: {both.failure}")
    report = both.comparison.report()
    if as_json:
        told = {} if changes is None else {"changes": changes_json(changes)}
        say_json(json.dumps({"old": old, "new": new, **told, "report": report}, indent=2))
        return
    if changes is not None:
        show_changes(old, new, changes)
    show_comparison(old, new, report)
