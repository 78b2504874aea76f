"""Which burn rates alert: the SRE Workbook's tiers, a configuration's, or those of alert policies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

import yaml

from detectors.slo.slo import Tier
from streams.config.models import TierEntry
from streams.config.values import milliseconds
from streams.language.problems import Findings
from streams.openslo.objects import (
    AlertCondition,
    AlertConditionSpec,
    AlertPolicy,
    AlertPolicySpec,
    Slo,
)
from streams.openslo.read import Item, Library
from streams.openslo.window import fits_rings
from streams.plan.plan import BUCKET_MS

SHORT_SHARE = 12
"""The Workbook's short window is a twelfth of the long one."""


@lru_cache(maxsize=1)
def workbook_tiers() -> tuple[TierEntry, ...]:
    """The tiers of the SRE Workbook for 30 days, from the data file beside this module."""
    text = resources.files("streams.openslo").joinpath("tiers-30d.yaml").read_text("utf-8")
    return tuple(TierEntry.model_validate(entry) for entry in yaml.safe_load(text))


def scaled_tiers(entries: Sequence[TierEntry], window_ms: int) -> tuple[Tier, ...]:
    """Tiers for an SLO over `window_ms`.

    A tier with a `factor` stands as it is. One with a `budget` gets the burn rate that spends this share
    of the budget within its long window, `budget * window / long`, but at least 1: a budget that burns
    slower than that lasts. It is left out if its long window is longer than the SLO's.
    """
    tiers = []
    for entry in entries:
        long_ms, short_ms = milliseconds(entry.long), milliseconds(entry.short)
        if entry.factor is not None:
            tiers.append(Tier(entry.severity, long_ms, short_ms, entry.factor))
        elif entry.budget is not None and long_ms <= window_ms:
            factor = max(round(entry.budget * window_ms / long_ms, 9), 1.0)
            tiers.append(Tier(entry.severity, long_ms, short_ms, factor))
    return tuple(tiers)


def can_fire(tier: Tier, target: float) -> bool:
    """Whether the tier can fire at all: a total outage burns only `1 / (1 - target)` times too fast."""
    return tier.factor * (1.0 - target) < 1.0


def policy_tiers(item: Item[Slo], library: Library, findings: Findings) -> tuple[Tier, ...] | None:
    """The tiers that an SLO's alert policies ask for; None where it has no policies.

    A burn-rate condition becomes a tier: `threshold` its factor, `lookbackWindow` its long window, and
    `alertAfter` its short one, over which the burn must have lasted as well; a twelfth of the long
    window where `alertAfter` is 0. A policy with `alertWhenBreaching: false` gives none.
    """
    entries = item.object.spec.alert_policies
    if not entries:
        return None
    tiers: list[Tier] = []
    for index, entry in enumerate(entries):
        path = (*item.path, "spec", "alertPolicies", index)
        if entry.spec is not None:
            tiers += _tiers_of_policy(entry.spec, item, path, library, findings)
            continue
        assert entry.alert_policy_ref is not None, "the model asks for one of both"
        bare = isinstance(item.document.get(path), str)
        place = path if bare else (*path, "alertPolicyRef")
        policy = library.find(AlertPolicy, entry.alert_policy_ref, item.document, place, findings)
        if policy is not None:
            tiers += _tiers_of_policy(policy.object.spec, policy, policy.path, library, findings)
    return tuple(dict.fromkeys(tiers))


def _tiers_of_policy(
    policy: AlertPolicySpec,
    item: Item[Slo] | Item[AlertPolicy],
    path: tuple[str | int, ...],
    library: Library,
    findings: Findings,
) -> list[Tier]:
    tiers = []
    for index, entry in enumerate(policy.conditions):
        place = (*path, "spec", "conditions", index)
        spec, document, holder = entry.spec, item.document, place
        if entry.condition_ref is not None:
            found = library.find(
                AlertCondition, entry.condition_ref, item.document, (*place, "conditionRef"), findings
            )
            if found is None:
                continue
            spec, document, holder = found.object.spec, found.document, found.path
        if spec is None or policy.alert_when_breaching is False:
            continue
        window = (*holder, "spec", "condition", "lookbackWindow")
        if fits_rings(spec.condition.lookback_window, document, window, findings):
            tiers.append(_tier(spec))
    return tiers


def _tier(spec: AlertConditionSpec) -> Tier:
    condition = spec.condition
    long_ms, short_ms = condition.lookback_window.ms, condition.alert_after.ms
    if short_ms == 0:
        short_ms = max(round(long_ms / SHORT_SHARE / BUCKET_MS), 1) * BUCKET_MS
    return Tier(spec.severity, long_ms, short_ms, condition.threshold)
