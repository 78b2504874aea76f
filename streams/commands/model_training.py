"""`streamgauge models train`: a detector on a table, in a process of its own."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from streams.commands.console import USAGE, JsonOutput, duration_seconds, fail, progress_bar, say_json, tell
from streams.commands.model_options import Labels, RegistryOptions, failures, labels_of, settings_of
from streams.commands.option_groups import with_groups
from streams.commands.table_options import TableColumns, TableFile


@with_groups
def train(
    file: TableFile,
    *,
    detector: Annotated[str, typer.Option(metavar="NAME", help="Which detector; module:Class works too.")] = (
        "traffic"
    ),
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the model; the detector's if left out.")
    ] = None,
    columns: TableColumns,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the detector; repeatable."),
    ] = None,
    holdout: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the steps, the last ones, for the backtest.")
    ] = 0.3,
    labels: Labels = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="A remark for the manifest.")] = "",
    timeout: Annotated[
        float, typer.Option(metavar="DURATION", parser=duration_seconds, help="End a training after this.")
    ] = "10m",  # type: ignore[assignment]  # typer parses it
    memory: Annotated[
        float, typer.Option(min=0.25, metavar="GIB", help="Memory that training may take.")
    ] = 4.0,
    if_drifted: Annotated[
        bool,
        typer.Option(
            "--if-drifted", help="Only if features differ from those of the champion, for a schedule."
        ),
    ] = False,
    keep: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Delete older versions; those with a role stay."),
    ] = None,
    options: RegistryOptions,
    as_json: JsonOutput = False,
) -> None:
    """Train a detector on a table, in a process of its own, and store it with its backtest.

    The backtest learns from the first steps and judges the last ones step by step; the stored model has
    learnt from all of them. It judges nothing until it is promoted. The SLIs of a replay are such a table.
    With --if-drifted it trains only if the features have shifted, so it can be scheduled nightly.

    **Example**

        streamgauge models train requests.csv --detector traffic --by service --set seed=1

        streamgauge models train out/slis.parquet --by service --by slo --by window --column ratio
    """
    from detectors.api.registry import DetectorError, make, plain_name
    from models.registry.training import Trainer
    from streams.commands.model_tables import drift_json, manifest_json, show_drift, show_manifest
    from streams.modelling.compare import drift_of_champion
    from streams.modelling.train import train_model

    wanted = settings_of(setting)
    try:
        make(detector, **wanted)
    except DetectorError as error:
        fail(str(error), USAGE)
    known = labels_of(labels)
    panel = columns.panel(file)
    store = options.open().registry
    model = name or plain_name(detector)
    with failures():
        drift = drift_of_champion(store, model, panel) if if_drifted else None
    if drift and not drift.retrain:
        if as_json:
            say_json(json.dumps({"trained": False, "drift": drift_json(drift)}, indent=2))
        else:
            show_drift(drift)
        tell(f"Not trained: the features are those that the champion of {model} learnt from")
        return
    for reason in drift.reasons if drift else ():
        tell(f"Training again: {reason}")
    with failures(), progress_bar("steps") as bars:
        bar = bars.add_task("Testing and training", total=3)
        with Trainer(timeout_s=timeout, memory_bytes_max=int(memory * 2**30)) as trainer:
            stored = train_model(
                store,
                trainer,
                panel,
                name=model,
                detector=detector,
                settings=wanted,
                holdout=holdout,
                labels=known,
                note=note,
                progress=lambda: bars.advance(bar),
            )
        deleted = store.prune(stored.name, keep) if keep else ()
    if as_json:
        say_json(json.dumps(manifest_json(stored, ()), indent=2))
    else:
        show_manifest(stored, ())
    for version in deleted:
        tell(f"Deleted {stored.name} {version}")
    tell(f"Stored. It judges once it is promoted: streamgauge models promote {stored.name} {stored.version}")
