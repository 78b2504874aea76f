"""The picture of a plan."""

from __future__ import annotations

import re
from pathlib import Path

from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.plan.diagram import draw_plan
from streams.plan.plan import Plan

EXAMPLES = Path(__file__).parents[4] / "examples"


def example(name: str) -> Plan:
    return compile_plan(load_config(EXAMPLES / name))


def test_every_source_rollup_and_slo_is_drawn() -> None:
    plan = example("otlp.yaml")
    text = draw_plan(plan)
    assert text.startswith("flowchart LR\n")
    for source in plan.sources.values():
        assert f'[("{source.topic}")]' in text
        assert all(rollup.name in text for rollup in source.rollups)
    for slo in plan.slos:
        assert f'"{slo.name}: {100 * slo.target:g} % in' in text


def test_every_arrow_ends_at_a_node_that_is_drawn() -> None:
    text = draw_plan(example("requests.yaml"), ["Alertmanager http://127.0.0.1:9093"])
    drawn = set(re.findall(r"(\w+)[\[(]", text))
    ends = {end for line in text.splitlines() for end in re.findall(r"--> (\w+)", line)}
    assert ends <= drawn
    assert "Alertmanager http://127.0.0.1:9093" in text


def test_the_same_plan_gives_the_same_text_and_quotes_do_no_harm() -> None:
    plan = example("access-log.yaml")
    assert draw_plan(plan, ['"<b>&"']) == draw_plan(plan, ['"<b>&"'])
    assert '["&quot;&lt;b&gt;&amp;&quot;"]' in draw_plan(plan, ['"<b>&"'])
