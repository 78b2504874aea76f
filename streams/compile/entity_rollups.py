"""An entry of `detectors.security` as rollups: one for each kind of entity, counted as everything else is.

An entity's counts are exact through kills and rebalances because they are a rollup's. What the detector is
shown of a step are the measures by name, and the distinct columns, which have the same names in any source.
"""

from __future__ import annotations

from collections.abc import Mapping

from detectors.security.entity_features import CountName, check_counts, count_name
from models.calendar.units import MINUTE_MS
from streams.compile.fragment import PlanFragment
from streams.config.security import COLUMNS, ENTITIES, LOGIN_PATHS, SecurityEntry
from streams.config.values import milliseconds
from streams.derive.attack_signatures import AGENT_SIGNATURES, ATTACKS, HIDDEN
from streams.derive.entities import (
    SLOT_BITS,
    SLOT_COUNT,
    Alias,
    AttackSignature,
    Chosen,
    Network,
    Pseudonym,
    Second,
    Slot,
)
from streams.language.expression import Expression, compile_expression, conjoin, quote_column
from streams.language.yaml.documents import Document, Path
from streams.language.yaml.use import Use
from streams.plan.monitor import monitor_plan
from streams.plan.plan import MonitorPlan
from streams.plan.rollup import Count, Derived, Measure, Rollup, Sum

DETECTOR = "security"

WINDOWS_MS = (MINUTE_MS,)

NETWORK_SCALE = 3.0
"""A network of many clients may do so many times what one may."""

_MISSED = "{status} >= 400 and {status} < 500 and {status} not in [401, 407, 429]"
"""The response to requests for what does not exist or is not allowed; 5xx are the server's own fault."""

_REFUSED_LOGIN = "[400, 403, 422]"
"""How applications refuse credentials, apart from 401."""


def entity_plan(
    entry: SecurityEntry,
    source: str,
    columns: Mapping[str, str],
    where: Expression | None,
    document: Document,
    path: Path,
) -> PlanFragment:
    """The rollups of an entry.

    columns : kinds of columns to what the source calls them
    where   : the source's own condition, which an entity's requests fulfil too
    path    : the entry's place in the document
    """
    conditions = _conditions(entry, columns)
    derived: list[Derived] = [Second("security.second")]
    distinct = ["security.second"]
    for name in ("path", "user", "agent", "client"):
        if name in columns:
            derived.append(Alias(f"security.{name}", columns[name]))
            distinct.append(f"security.{name}")
    if "path" in columns:
        derived.append(Slot("security.slot", columns["path"]))
    if "path" in columns and "missed" in conditions:
        derived.append(Chosen("security.missed_path", columns["path"], conditions["missed"]))
        distinct.append("security.missed_path")
    if "user" in columns and "failed_logins" in conditions:
        derived.append(Chosen("security.failed_user", columns["user"], conditions["failed_logins"]))
        distinct.append("security.failed_user")
    asked = [columns[name] for name in ("path", "query") if name in columns]
    agents = [(columns["agent"], AGENT_SIGNATURES)] if "agent" in columns else []
    derived.append(AttackSignature("security.attack", [*((column, ATTACKS) for column in asked), *agents]))
    derived.append(AttackSignature("security.hidden", [(column, HIDDEN) for column in asked]))
    measures = _measures(conditions, columns)
    check_counts(measure.name for measure in measures)
    check_counts(count_name(f"distinct {name}") for name in distinct)
    rollups: list[Rollup] = []
    monitors: list[MonitorPlan] = []
    for kind, label, column, made in _entities(entry, columns):
        derived += made
        present = compile_expression(f'{quote_column(column)} != ""')
        rollups.append(
            Rollup(
                name=f"entity:{source}:{label}",
                kind="entity",
                source=source,
                by=(label,),
                where=conjoin(where, entry.where, present),
                measures=measures,
                distinct=tuple(name for name in distinct if name != f"security.{_kind(column, columns)}"),
                windows_ms=WINDOWS_MS,
                series_count_max=entry.limit,
                forget_ms=milliseconds(entry.forget),
            )
        )
        monitors.append(_monitor(rollups[-1], entry, kind))
    return PlanFragment(
        tuple(derived), tuple(rollups), tuple(monitors), _uses(entry, columns, conditions, document, path)
    )


def _bit(bit: int) -> Expression:
    """Requests whose path's slot has a bit."""
    slots = [slot for slot in range(SLOT_COUNT) if slot >> bit & 1]
    return compile_expression(f"`security.slot` in {slots}")


def _monitor(rollup: Rollup, entry: SecurityEntry, kind: str) -> MonitorPlan:
    settings = {
        "false_alarms_per_series_per_week": entry.false_alarms_per_series_per_week,
        "forget_ms": milliseconds(entry.forget),
        "scale": NETWORK_SCALE if "_network" in rollup.by[0] else 1.0,
    }
    name = f"{DETECTOR}:{rollup.source}:{rollup.by[0]}"
    # the model is of the kind, not of the label: what is ordinary differs between kinds, not between names
    return monitor_plan(DETECTOR, name, rollup.source, rollup.name, settings, model=f"{DETECTOR}-{kind}")


def entity_labels(entry: SecurityEntry, columns: Mapping[str, str]) -> dict[str, str]:
    """Label that stands for each kind of entity itself, by its kind."""
    suffix = "" if entry.pseudonymise is None else "_pseudonym"
    return {name: f"{columns[name]}{suffix}" for name in ENTITIES if name in columns}


def _entities(entry: SecurityEntry, columns: Mapping[str, str]) -> list[tuple[str, str, str, list[Derived]]]:
    """(kind, label, column it comes from, columns to be made for it) of each kind of entity."""
    found: list[tuple[str, str, str, list[Derived]]] = []
    for name in ENTITIES:
        if name not in columns:
            continue
        column = columns[name]
        found.append((name, column, column, []))
        if name == "client" and entry.prefix:
            network = f"{column}_network"
            found.append(("network", network, column, [Network(network, column)]))
    if entry.pseudonymise is None:
        return found
    key = entry.pseudonymise.get_secret_value().encode()
    return [
        (kind, f"{label}_pseudonym", column, [*made, Pseudonym(f"{label}_pseudonym", label, key)])
        for kind, label, column, made in found
    ]


def _kind(column: str, columns: Mapping[str, str]) -> str:
    """Which entity a column is; an entity's own distinct values would always be one."""
    return next(name for name in ENTITIES if columns.get(name) == column)


def _conditions(entry: SecurityEntry, columns: Mapping[str, str]) -> dict[CountName, Expression]:
    """Conditions of the measures, as far as there are columns to ask."""
    quoted = {name: quote_column(column) for name, column in columns.items()}
    status, method, path = (quoted.get(name) for name in ("status", "method", "path"))
    found: dict[CountName, Expression] = {}
    if status is not None:
        found["4xx"] = compile_expression(f"{status} >= 400 and {status} < 500")
        codes: tuple[CountName, ...] = ("401", "403", "404", "429")
        for code in codes:
            found[code] = compile_expression(f"{status} == {code}")
        found["5xx"] = compile_expression(f"{status} >= 500")
        found["missed"] = compile_expression(_MISSED.format(status=status))
    if method is not None:
        found["get"] = compile_expression(f'{method} in ["GET", "HEAD"]')
        found["post"] = compile_expression(f'{method} == "POST"')
    if entry.login is not None:
        found["logins"] = entry.login
    elif method is not None and path is not None:
        found["logins"] = compile_expression(
            f'{method} == "POST" and matches(lower({path}), "{LOGIN_PATHS}")'
        )
    if entry.failed_login is not None:
        found["failed_logins"] = entry.failed_login
    elif status is not None:
        refused = f"{status} == 401"
        if "logins" in found:
            refused += f" or ({found['logins'].text}) and {status} in {_REFUSED_LOGIN}"
        found["failed_logins"] = compile_expression(refused)
    hidden = "`security.hidden` > 0" if status is None else f"`security.hidden` > 0 and {status} >= 400"
    found["probes"] = compile_expression(f"`security.attack` > 0 or {hidden}")
    return found


def _measures(conditions: Mapping[CountName, Expression], columns: Mapping[str, str]) -> tuple[Measure, ...]:
    measures: list[Measure] = [Count("requests")]
    measures += [Count(name, condition) for name, condition in conditions.items()]
    if "bytes" in columns:
        measures.append(Sum("bytes", columns["bytes"]))
    if "path" in columns:
        measures += [Count(f"path bit {bit}", _bit(bit)) for bit in range(SLOT_BITS)]
    return tuple(measures)


def _uses(
    entry: SecurityEntry,
    columns: Mapping[str, str],
    conditions: Mapping[CountName, Expression],
    document: Document,
    path: Path,
) -> tuple[Use, ...]:
    """What is read, with the key that says so; what a default reads stands for the whole entry."""
    uses: list[Use] = []
    for name in COLUMNS:
        if name in columns:
            place = (*path, name) if getattr(entry, name) is not None else path
            if name == "bytes":
                uses.append(Use(document, place, columns[name], measured=True))
            elif name != "status":
                uses.append(Use(document, place, columns[name]))
    for key in ("where", "login", "failed_login"):
        expression = getattr(entry, key)
        if expression is not None:
            uses.append(Use(document, (*path, key), expression=expression))
    made = ("logins", "failed_logins", "probes")
    uses += [Use(document, path, expression=c) for name, c in conditions.items() if name not in made]
    return tuple(uses)
