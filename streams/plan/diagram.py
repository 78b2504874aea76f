"""A plan as a Mermaid flowchart: what a worker with this configuration does, from topics to alerts."""

from __future__ import annotations

from collections.abc import Sequence

from detectors.alerts.names import span_name
from detectors.slo.slo import Slo
from streams.plan.plan import Plan, SourcePlan
from streams.plan.rollup import Rollup

__all__ = ["draw_plan"]


def draw_plan(plan: Plan, sinks: Sequence[str] = ()) -> str:
    """Mermaid text, the same for the same plan; Markdown on GitHub and GitLab shows it as a picture.

    sinks : where alerts go beside the alerts topic and `/metrics`
    """
    lines = ["flowchart LR"]
    for number, source in enumerate(plan.sources.values()):
        lines += _source(source, f"s{number}", plan)
    lines += [
        f'    partials[("{plan.app}-partials")] --> window["windows"]',
        f'    window --> slis[("{plan.app}-slis")]',
        f'    window <-- restart --> blocks[("{plan.app}-blocks")]',
        '    window --> metrics["/metrics"]',
    ]
    for number, slo in enumerate(plan.slos):
        lines.append(f'    window --> slo{number}["{_slo(slo)}"] --> alerts')
    lines.append(f'    alerts[("{plan.app}-alerts")]')
    lines += [f'    alerts --> sink{number}["{_safe(sink)}"]' for number, sink in enumerate(sinks)]
    return "\n".join(lines) + "\n"


def _source(source: SourcePlan, node: str, plan: Plan) -> list[str]:
    lines = [
        f'    {node}t[("{_safe(source.topic)}")] --> {node}d["{_safe(source.name)}: decode {source.format}"]',
        f'    {node}d -- late, dead --> dead[("{plan.app}-dead-letters")]',
    ]
    for number, rollup in enumerate(source.rollups):
        lines.append(f'    {node}d --> {node}r{number}["{_rollup(rollup)}"] --> partials')
    return lines


def _rollup(rollup: Rollup) -> str:
    parts = [_safe(rollup.name), ", ".join(rollup.measure_names)]
    if rollup.by:
        parts.append("by " + ", ".join(_safe(label) for label in rollup.by))
    if rollup.sketch:
        parts.append(f"quantiles of {_safe(rollup.sketch)}")
    parts.append("windows " + " ".join(span_name(window) for window in rollup.windows_ms))
    return "<br/>".join(parts)


def _slo(slo: Slo) -> str:
    name = f"{slo.name} {slo.objective}".rstrip()
    tiers = [
        f"{_safe(tier.severity)} at {tier.factor:g}: {span_name(tier.long_ms)}, {span_name(tier.short_ms)}"
        for tier in slo.tiers
    ]
    return "<br/>".join([f"{_safe(name)}: {100 * slo.target:g} % in {span_name(slo.window_ms)}", *tiers])


def _safe(text: str) -> str:
    """Text inside a quoted label: quotes and angle brackets would end it."""
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
