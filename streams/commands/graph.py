"""`streamgauge graph`: a configuration as a picture."""

from __future__ import annotations

from streams.commands.console import ConfigFile, fail, load, say


def graph(config: ConfigFile) -> None:
    """Draw what a configuration does, from topics to alerts, as a Mermaid flowchart.

    It is drawn from the plan that a worker runs, so it shows what will happen.

    **Example**

        streamgauge graph -c streamgauge.yaml > flow.mmd
    """
    from streams.compile.configuration import compile_plan
    from streams.language.problems import ConfigError
    from streams.plan.diagram import draw_plan

    settings = load(config)
    try:
        plan = compile_plan(settings)
    except ConfigError as error:
        fail(str(error))
    registry = settings.models.url is not None
    say(draw_plan(plan, list(settings.sinks.configured()), registry=registry).rstrip())
