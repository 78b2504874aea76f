"""Measures by name: what is not counted is an error when the plan is made."""

from __future__ import annotations

import pytest

from detectors.capacity.alerts import CapacityRule
from detectors.slo.slo import Slo
from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.events.batch import Layout
from streams.plan.outcomes import outcomes_rollup
from streams.plan.plan import MonitorPlan, Plan, SourcePlan
from streams.plan.resource import CapacityPlan, Resource
from streams.plan.rollup import MEASURES, Count, Rollup, Sum, within
from tests.unit.streams.plan.test_diagram import EXAMPLES

OWN = Rollup("s", "s", measures=(Count("total"), Count("errors"), Sum("seconds", "x")), kind="requests")


def test_a_measure_is_found_by_its_name():
    assert OWN.measure_names == ("total", "errors", "seconds")
    assert [OWN.measure_index(name) for name in OWN.measure_names] == [0, 1, 2]
    assert OWN.measure("seconds") is OWN.measures[2]
    assert outcomes_rollup("s").measure_index("total") == 0


def test_a_name_that_is_not_counted_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match="rollup s does not count 'error'; it counts total, errors, seconds"):
        OWN.measure_index("error")
    with pytest.raises(ValueError, match="it counts nothing"):
        Rollup("s", "s", kind="sigma").measure("events")


@pytest.mark.parametrize("kind", [kind for kind, names in MEASURES.items() if names])
def test_a_rollup_counts_what_its_kind_asks_for(kind):
    names = MEASURES[kind]
    assert Rollup("r", "s", measures=tuple(map(Count, names)), kind=kind).measure_names == names
    with pytest.raises(ValueError, match=f"does not count '{names[-1]}'"):
        Rollup("r", "s", measures=tuple(map(Count, names[:-1])), kind=kind)


def test_measures_of_one_name_are_refused():
    with pytest.raises(ValueError, match="rollup r counts lines, lines: names that differ expected"):
        Rollup("r", "s", measures=(Count("lines"), Count("lines")), kind="logs")


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"slos": (Slo("o", "x", 0.9, "s", "s", 60_000),)}, "rollup s does not count 'good'"),
        (
            {"slos": (Slo("o", "x", 0.9, "s", "slo:o", 60_000),)},
            "no rollup 'slo:o'; it has s, logs",
        ),
        (
            {"monitors": (MonitorPlan("t", "s", "logs", "traffic", "TrafficAnomaly"),)},
            "rollup logs does not count 'total'",
        ),
        (
            {"capacity": (CapacityPlan(Resource("disk", "gauge"), CapacityRule(), "s", "s", 0),)},
            "rollup s does not count 'level'",
        ),
    ],
)
def test_a_plan_refers_to_what_is_counted(more, found):
    lines = Rollup("logs", "s", measures=(Count("lines"),), kind="logs")
    sources = {"s": SourcePlan("s", "s", "json", Layout({}), (OWN, lines))}
    with pytest.raises(ValueError, match=found):
        Plan("app", sources, **more)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_names_of_rollups_begin_with_their_kind(path):
    """As they lie in topics and stored blocks; a source's own has the name of the source."""
    for name, source in compile_plan(load_config(path)).sources.items():
        for rollup in source.rollups:
            own = rollup.kind == "requests"
            assert rollup.name == name if own else rollup.name.startswith(f"{rollup.kind}:"), rollup.name
            for bound in rollup.histogram:
                assert rollup.measure(within(bound)).where is not None
