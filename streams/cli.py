"""The command line: one command a module in `streams/commands`, listed here in the order of a first use.

Modules that do the work are imported by the command that needs them, so that `--help` and completion
answer at once.
"""

from __future__ import annotations

import logging

import typer

from streams.commands.backtest import backtest
from streams.commands.capture import capture
from streams.commands.check import check
from streams.commands.demo import demo
from streams.commands.detect import detect
from streams.commands.forecast import forecast
from streams.commands.graph import graph
from streams.commands.label import label
from streams.commands.models import models
from streams.commands.replay import replay
from streams.commands.templates import templates
from streams.commands.worker import worker
from streams.language.printable import LogFormatter

__all__ = ["app"]

app = typer.Typer(
    name="streamgauge",
    help=(
        "Exact rolling SLIs, error budgets and burn-rate alerts from Kafka topics or files.\n\n"
        "First look:  `streamgauge demo`\n\n"
        "On a file:   `streamgauge replay access.log.gz -c streamgauge.yaml --output out`\n\n"
        "On Kafka:    `streamgauge worker -c streamgauge.yaml`"
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, check, replay, worker, capture, detect, templates, label, forecast, backtest, graph):
    app.command()(command)
app.add_typer(models)

if logging.lastResort is not None:  # what writes warnings where a command sets up no log
    logging.lastResort.setFormatter(LogFormatter())


if __name__ == "__main__":
    app(prog_name="streamgauge")
