"""A plan as a Mermaid flowchart: what a worker with this configuration does, from topics to alerts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detectors.alerts.names import span_name
from detectors.slo.slo import Slo
from streams.plan.plan import MonitorPlan, Plan, SourcePlan
from streams.plan.resource import CapacityPlan
from streams.plan.rollup import SECONDS, Rollup, within

__all__ = ["draw_plan"]


def draw_plan(plan: Plan, sinks: Sequence[str] = (), *, registry: bool = False) -> str:
    """Mermaid text, the same for the same plan; Markdown on GitHub and GitLab shows it as a picture.

    sinks    : names of those that alerts go to beside the alerts topic and `/metrics`
    registry : whether detectors go on with trained models
    """
    lines = ["flowchart LR"]
    for number, source in enumerate(plan.sources.values()):
        lines += _source(source, f"s{number}", plan)
    lines += [
        f'    {_topic("partials", plan)} --> window["windows"]',
        f"    window <-- restart --> {_topic('blocks', plan)}",
        '    window --> metrics["/metrics"]',
    ]
    if plan.slos:
        lines.append(f"    window --> {_topic('slis', plan)}")
    for number, slo in enumerate(plan.slos):
        lines.append(f'    window --> slo{number}["{_slo(slo)}"] --> alerts')
    lines += _monitors(plan, registry)
    for number, planned in enumerate(plan.capacity):
        lines.append(f'    window --> capacity{number}["{_capacity(planned)}"] --> alerts')
        lines.append(f"    capacity{number} --> {_topic('forecasts', plan)}")
    if plan.slos or plan.monitors or plan.capacity:
        lines.append(f"    {_topic('alerts', plan)}")
        lines += [f'    alerts --> sink{number}["{_safe(sink)}"]' for number, sink in enumerate(sinks)]
    return "\n".join(lines) + "\n"


def _topic(name: str, plan: Plan) -> str:
    """One of the app's own topics; the node is called as the topic is, without the app."""
    return f'{name.replace("-", "_")}[("{_safe(plan.app)}-{name}")]'


def _source(source: SourcePlan, node: str, plan: Plan) -> list[str]:
    lines = [
        f'    {node}t[("{_safe(source.topic)}")] --> {node}d["{_safe(source.name)}: decode {source.format}"]',
        f"    {node}d -- late, dead --> {_topic('dead-letters', plan)}",
    ]
    for number, text in enumerate(_rollups(source, plan)):
        lines.append(f'    {node}d --> {node}r{number}["{text}"] --> partials')
    return lines


def _rollups(source: SourcePlan, plan: Plan) -> Iterator[str]:
    """What a source counts; the rollups that are there for one detector alone are one text."""
    detectors = {
        monitor.rollup: monitor.detector for monitor in plan.monitors if monitor.rollup != source.name
    }
    together: dict[tuple[str | None, str], list[Rollup]] = {}
    for rollup in source.rollups:
        detector = detectors.get(rollup.name)
        together.setdefault((detector, rollup.name if detector is None else ""), []).append(rollup)
    for (detector, _), rollups in together.items():
        if detector is None:
            yield _rollup(rollups[0])
        else:
            yield _lines(f"counts for {detector}", *dict.fromkeys(_by(rollup.by) for rollup in rollups))


def _rollup(rollup: Rollup) -> str:
    told = rollup.kind in ("requests", "slo")
    quantiles = f"quantiles of {rollup.sketch}" if rollup.sketch else ""
    return _lines(
        rollup.name,
        ", ".join(_shown(rollup)) if told else "",
        _by(rollup.by),
        f"histogram and {quantiles}" if rollup.histogram else quantiles,
        f"distinct {', '.join(rollup.distinct)}" if rollup.distinct else "",
        "windows " + " ".join(span_name(window) for window in rollup.windows_ms) if told else "",
    )


def _shown(rollup: Rollup) -> list[str]:
    """Measures that are listed one by one: not the counts of a histogram's buckets, nor its sum."""
    of_histogram = {*map(within, rollup.histogram), SECONDS} if rollup.histogram else set()
    return [name for name in rollup.measure_names if name not in of_histogram]


def _monitors(plan: Plan, registry: bool) -> list[str]:
    """Detectors, the topics that they write and read, and the incidents that come of them."""
    if not plan.monitors:
        return []
    together: dict[tuple[str, str], list[MonitorPlan]] = {}
    for monitor in plan.monitors:
        together.setdefault((monitor.source, monitor.detector), []).append(monitor)
    lines: list[str] = []
    for number, monitors in enumerate(together.values()):
        lines.append(f'    window --> detector{number}["{_monitor(monitors)}"] --> anomalies')
        lines.append(f"    {_topic('labels', plan)} --> detector{number}")
        if registry and any(monitor.model for monitor in monitors):
            lines.append(f"    {_topic('models', plan)} --> detector{number}")
    lines.append(f"    {_topic('anomalies', plan)} -- above info --> alerts")
    lines.append(f'    alerts --> grouping["incidents"] --> {_topic("incidents", plan)}')
    return lines


def _monitor(monitors: Sequence[MonitorPlan]) -> str:
    first = monitors[0]
    count = f"{len(monitors)} × " if len(monitors) > 1 else ""
    return _lines(f"{count}{first.detector} of {first.source}", f"every {span_name(first.step_ms)}")


def _capacity(planned: CapacityPlan) -> str:
    resource = planned.resource
    return _lines(
        f"{resource.name}: {resource.kind.replace('_', ' ')}",
        _by(resource.by),
        f"{span_name(resource.horizon_ms)} ahead",
    )


def _by(labels: Sequence[str]) -> str:
    return "by " + ", ".join(labels) if labels else ""


def _lines(*lines: str) -> str:
    """The lines of a label, without the empty ones."""
    return "<br/>".join(_safe(line) for line in lines if line)


def _slo(slo: Slo) -> str:
    name = f"{slo.name} {slo.objective}".rstrip()
    tiers = [
        f"{tier.severity} at {tier.factor:g}: {span_name(tier.long_ms)}, {span_name(tier.short_ms)}"
        for tier in slo.tiers
    ]
    return _lines(f"{name}: {100 * slo.target:g} % in {span_name(slo.window_ms)}", *tiers)


def _safe(text: str) -> str:
    """Text inside a quoted label: quotes and angle brackets would end it."""
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
