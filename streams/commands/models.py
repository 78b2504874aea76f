"""`streamgauge models`: train, look at, compare, promote and take back the models of detectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.commands.console import JsonOutput, fail, say_json, tell
from streams.commands.model_comparison import compare_and_show
from streams.commands.model_options import (
    Data,
    Decision,
    Labels,
    ModelName,
    RegistryOptions,
    RoleName,
    Trusted,
    Version,
    failures,
    labels_of,
    roles_of,
)
from streams.commands.model_training import train
from streams.commands.option_groups import with_groups
from streams.commands.table_options import TableColumns

if TYPE_CHECKING:
    from streams.modelling.compare import Trial

__all__ = ["models"]

models = typer.Typer(
    name="models",
    help=(
        "Train models of detectors, look at them, and decide which one judges.\n\n"
        "A model is stored in a registry, a folder or any address that fsspec knows, with a manifest. The "
        "**champion** judges; a **shadow** judges the same data and alerts no one.\n\n"
        "First:  `streamgauge models train requests.csv --detector traffic`\n\n"
        "Then:   `streamgauge models promote traffic latest`\n\n"
        "Regret: `streamgauge models rollback traffic`"
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


models.command()(train)


@models.command("list")
@with_groups
def list_models(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this model.")] = None,
    *,
    options: RegistryOptions,
    as_json: JsonOutput = False,
) -> None:
    """List models and their versions, the newest last, with their roles and backtests.

    **Example**

        streamgauge models list

        streamgauge models list traffic --registry s3://models --json
    """
    from models.registry.errors import ModelError
    from streams.commands.model_tables import manifest_json, show_list

    store = options.open().registry
    with failures():
        rows, broken = [], []
        for each in (name,) if name else store.names():
            roles = roles_of(store, each)
            versions = store.versions(each)
            if name and not versions:
                store.find(each, "latest")  # tells which models there are
            for version in versions:
                try:
                    rows.append((store.manifest(each, version), roles.get(version, ())))
                except ModelError as error:
                    broken.append(str(error))
    if as_json:
        say_json(json.dumps([manifest_json(*row, short=True) for row in rows], indent=2))
    elif rows:
        show_list(rows)
    if broken:
        fail("\n".join(broken))
    if not rows and not as_json:
        tell(f"No models of {store.app} in {store.url}. Train one: streamgauge models train FILE")


@models.command()
@with_groups
def show(
    name: ModelName,
    version: Version = "champion",
    *,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A table: have its features drifted from training?")
    ] = None,
    columns: TableColumns,
    options: RegistryOptions,
    as_json: JsonOutput = False,
) -> None:
    """Show the manifest of a version, its roles and their history; with data, whether it should be retrained.

    **Example**

        streamgauge models show traffic

        streamgauge models show traffic latest --data last-week.csv --by service
    """
    from models.registry.feature_drift import drift_of
    from streams.commands.model_tables import (
        drift_json,
        history_json,
        manifest_json,
        show_drift,
        show_history,
        show_manifest,
    )

    store = options.open().registry
    with failures():
        found = store.manifest(name, store.find(name, version))
        roles = roles_of(store, name).get(found.version, ())
        history = [store.pointer(name, role.value) for role in RoleName]
        store.load(name, found.version)  # a model that cannot be loaded is worth an exit code
    panel = columns.panel(data) if data else None
    drift = drift_of(found.sample, panel.features, panel.values) if panel else None
    if as_json:
        body = manifest_json(found, roles) | {"history": history_json(history)}
        say_json(json.dumps(body | ({"drift": drift_json(drift)} if drift else {}), indent=2))
        return
    show_manifest(found, roles)
    show_history(history)
    if drift:
        show_drift(drift)


@models.command()
@with_groups
def shadow(
    name: ModelName,
    version: Version = "latest",
    *,
    data: Data = None,
    columns: TableColumns,
    stop: Annotated[bool, typer.Option("--stop", help="Let no version be shadow any more.")] = False,
    decision: Decision,
    detector: Trusted = None,
    options: RegistryOptions,
    as_json: JsonOutput = False,
) -> None:
    """Let a version judge alongside the champion; with data, report how the two differ on it.

    **Example**

        streamgauge models shadow traffic latest

        streamgauge models shadow traffic latest --data last-week.csv --by service

        streamgauge models shadow traffic --stop
    """
    place = options.open()
    store = place.registry
    panel = columns.panel(data) if data else None
    with failures():
        chosen = None if stop else store.find(name, version)
        if panel is not None and chosen is not None:
            compare_and_show(store, name, "champion", chosen, panel, detector or [], as_json)
        announced = store.appoint(name, "shadow", chosen, by=decision.by, reason=decision.reason)
    place.announce(announced)
    tell(f"Shadow of {name} is now {announced.version or 'no version'}")
    if as_json and panel is None:
        say_json(announced.to_bytes().decode())


@models.command()
@with_groups
def promote(
    name: ModelName,
    version: Version = "shadow",
    *,
    data: Data = None,
    columns: TableColumns,
    labels: Labels = None,
    target: Annotated[
        float | None,
        typer.Option(
            min=1e-9,
            metavar="RATE",
            help="Alarms per series and week to expect; the model's setting if left out.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what the gate says.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Promote even if the gate refuses.")] = False,
    decision: Decision,
    detector: Trusted = None,
    options: RegistryOptions,
    as_json: JsonOutput = False,
) -> None:
    """Make a version the champion if it passes the gate: alarm volume, coverage, precision and recall.

    With data, candidate and champion judge it now; without, the backtests of their manifests are compared. A
    version that is refused changes nothing, and the exit code is 1.

    **Example**

        streamgauge models promote traffic latest

        streamgauge models promote traffic shadow --data last-week.csv --by service --labels labels.jsonl
    """
    from streams.commands.model_tables import show_trial, trial_json
    from streams.modelling.compare import try_promotion

    place = options.open()
    store = place.registry
    known = labels_of(labels)
    panel = columns.panel(data) if data else None
    with failures():
        chosen = store.find(name, version)
        trial = try_promotion(
            store, name, chosen, panel=panel, labels=known, target=target, trusted=detector or []
        )
        passed = trial.decision.promote or force
        if passed and not dry_run:
            why = decision.reason or _gate_words(trial)
            place.announce(store.appoint(name, "champion", chosen, by=decision.by, reason=why))
    if as_json:
        say_json(json.dumps(trial_json(trial) | {"promoted": passed and not dry_run}, indent=2))
    else:
        show_trial(trial)
    if not passed:
        fail(f"Refused: {name} {chosen} stays as it is. --force promotes it nevertheless")
    tell(f"{name} {chosen} {'would be' if dry_run else 'is now'} the champion")


@models.command()
@with_groups
def rollback(
    name: ModelName,
    *,
    role: Annotated[RoleName, typer.Option(help="Which role.")] = RoleName.CHAMPION,
    decision: Decision,
    options: RegistryOptions,
    as_json: JsonOutput = False,
) -> None:
    """Give the role back to the version that had it before; run it again to go further back.

    **Example**

        streamgauge models rollback traffic --reason "pages at night"
    """
    place = options.open()
    store = place.registry
    with failures():
        announced = store.rollback(name, role.value, by=decision.by, reason=decision.reason)
    place.announce(announced)
    if as_json:
        say_json(announced.to_bytes().decode())
    tell(f"{role.value.capitalize()} of {name} is again {announced.version}")


@models.command()
@with_groups
def diff(
    name: ModelName,
    old: Annotated[
        str, typer.Argument(metavar="OLD", help="A version, as in the other commands.")
    ] = "champion",
    new: Annotated[str, typer.Argument(metavar="NEW", help="The one to compare with it.")] = "latest",
    *,
    data: Data = None,
    columns: TableColumns,
    detector: Trusted = None,
    options: RegistryOptions,
    as_json: JsonOutput = False,
) -> None:
    """Show what differs between two versions: settings, data, features, metrics; with data, their verdicts.

    **Example**

        streamgauge models diff traffic champion latest

        streamgauge models diff traffic 3 4 --data last-week.csv --by service
    """
    from models.registry.manifest_diff import diff_manifests
    from streams.commands.model_tables import changes_json, show_changes

    store = options.open().registry
    panel = columns.panel(data) if data else None
    with failures():
        versions = [store.find(name, which) for which in (old, new)]
        changes = diff_manifests(*(store.manifest(name, version) for version in versions))
        if panel is not None:
            compare_and_show(store, name, versions[0], versions[1], panel, detector or [], as_json, changes)
            return
    if as_json:
        say_json(json.dumps({"old": versions[0], "new": versions[1], "changes": changes_json(changes)}))
    else:
        show_changes(versions[0], versions[1], changes)


def _gate_words(trial: Trial) -> str:
    failed = [check.name for check in trial.decision.checks if not check.passed]
    return f"forced against {', '.join(failed)}" if failed else "passed the gate"
