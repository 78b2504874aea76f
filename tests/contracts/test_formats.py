"""What a `Format` says holds, for every one that is registered and for one of somebody else."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from typer.testing import CliRunner

from streams.cli import app
from streams.compile.check import check_paths
from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.config.security import COLUMNS, ENTITIES
from streams.decode.format import Role, Schema, Signal
from streams.decode.registry import find_format, format_names
from streams.events.batch import Layout, Records, Strings
from streams.language.expression import compile_expression
from streams.offline.flow import LocalFlow, SeriesTotals
from tests.contracts.format_samples import REQUEST, sample
from tests.services.packages import install_bunyan

START_MS = 1_779_000_000_000
EVENT_COUNT = 5

CASES = [
    (name, signal, find_format(name).schema_of(signal))
    for name in format_names()
    for signal in (find_format(name).signals or (None,))
]
WITH_ROLES = [case for case in CASES if case[2].roles]
WITH_MESSAGES = [case for case in CASES if "message" in case[2].roles]
WITH_ENTITIES = [case for case in CASES if case[2].roles.keys() & set(ENTITIES)]


def records_of(name: str, signal: Signal | None, schema: Schema) -> Records:
    """A second of time between one request and the next."""
    times = START_MS + 1_000 * np.arange(EVENT_COUNT)
    values: list[bytes | None] = [
        sample(find_format(name).name, signal, schema, at_ms) for at_ms in times.tolist()
    ]
    return Records(values, np.arange(EVENT_COUNT), times)


def totals(
    folder: Path, name: str, signal: Signal | None, schema: Schema, detector: str
) -> Mapping[str, SeriesTotals]:
    """All that is counted where a detector watches the source, by rollup."""
    of_signal = "" if signal is None else f", signal: {signal}"
    path = folder / "streamgauge.yaml"
    path.write_text(
        f"sources: {{app: {{topic: app, format: '{name}'{of_signal}}}}}\n"
        f"detectors: {{{detector}: [{{source: app}}]}}\n"
    )
    report = check_paths([path], environment={})
    assert (report.problems, report.notes) == ((), ())
    flow = LocalFlow(compile_plan(load_config(path)))
    assert flow.feed("app", 0, records_of(name, signal, schema)) == []
    return flow.finish().rollups


def counts(found: SeriesTotals) -> dict[str, int]:
    """The counts of a rollup's only series."""
    assert len(found.labels) == 1
    return dict(zip(found.measures, found.counts[0].tolist(), strict=True))


def check_roles(name: str, signal: Signal | None, schema: Schema) -> None:
    wanted = dict.fromkeys(schema.roles.values(), "string")
    decoder = find_format(name).make(Layout(wanted, signal=signal))  # type: ignore[arg-type]
    batch = decoder.decode(records_of(name, signal, schema))
    assert len(batch) == EVENT_COUNT
    assert batch.time_ms[0] == START_MS
    for role, column in schema.roles.items():
        made = batch.columns[column]
        assert isinstance(made, Strings)
        assert (made.codes >= 0).all(), f"{role}: {column} is missing"
        assert str(REQUEST[role]) in made.values[made.codes[0]], role


def check_logs(folder: Path, name: str, signal: Signal | None, schema: Schema) -> None:
    found = totals(folder, name, signal, schema, "logs")["logs:app"]
    assert found.labels[0] == (REQUEST["message"],)
    told = {"lines": EVENT_COUNT} | ({} if schema.error is None else {"errors": EVENT_COUNT})
    assert counts(found) == told


def check_security(folder: Path, name: str, signal: Signal | None, schema: Schema) -> None:
    found = totals(folder, name, signal, schema, "security")
    for role in schema.roles.keys() & set(ENTITIES):
        rollup = found[f"entity:app:{schema.roles[role]}"]
        assert rollup.labels[0] == (REQUEST[role],)
        told = counts(rollup)
        assert told["requests"] == told["failed_logins"] == told["401"] == EVENT_COUNT


def check_templates(folder: Path, name: str, signal: Signal | None, schema: Schema) -> None:
    values = records_of(name, signal, schema).values
    file = folder / "capture.jsonl"
    line = {"topic": "app", "partition": 0, "timestamp": -1}
    file.write_text(
        "".join(
            json.dumps({**line, "offset": at, "value_b64": base64.b64encode(value or b"").decode()}) + "\n"
            for at, value in enumerate(values)
        )
    )
    done = CliRunner().invoke(app, ["templates", str(file), "--format", name, "--json"])
    assert done.exit_code == 0, done.output
    (template,) = json.loads(done.stdout)
    assert (template["example"], template["count"]) == (REQUEST["message"], EVENT_COUNT)
    assert template["first_seen_ms"] == START_MS


@pytest.mark.parametrize("name", format_names())
def test_a_format_has_the_name_under_which_it_is_found(name: str) -> None:
    assert find_format(name).name == name


@pytest.mark.parametrize(("name", "signal", "schema"), CASES)
def test_what_tells_an_error_asks_for_columns_that_the_format_makes(
    name: str, signal: Signal | None, schema: Schema
) -> None:
    if schema.error is not None:
        assert compile_expression(schema.error).columns.keys() <= schema.columns.keys()
    if schema.others is None:
        assert set(schema.roles.values()) <= schema.columns.keys()


@pytest.mark.parametrize(("name", "signal", "schema"), WITH_ROLES)
def test_a_column_that_plays_a_role_is_one_that_the_format_makes_or_reads(
    name: str, signal: Signal | None, schema: Schema
) -> None:
    check_roles(name, signal, schema)


@pytest.mark.parametrize(("name", "signal", "schema"), WITH_MESSAGES)
def test_lines_of_a_format_with_messages_are_watched(
    tmp_path: Path, name: str, signal: Signal | None, schema: Schema
) -> None:
    check_logs(tmp_path, name, signal, schema)
    check_templates(tmp_path, name, signal, schema)


@pytest.mark.parametrize(("name", "signal", "schema"), WITH_ENTITIES)
def test_entities_of_a_format_with_clients_are_watched(
    tmp_path: Path, name: str, signal: Signal | None, schema: Schema
) -> None:
    check_security(tmp_path, name, signal, schema)


def test_roles_are_what_messages_and_requests_have() -> None:
    assert set(get_args(Role)) == {"message", *COLUMNS}


@pytest.mark.parametrize("name", ["bunyan", "acme_bunyan:FORMAT"])
def test_a_format_of_somebody_else_is_one_file_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.syspath_prepend(install_bunyan(tmp_path / "site"))
    schema = find_format(name).schema
    assert "bunyan" in format_names()
    assert schema.roles.keys() >= {"message", "client", "path", "status"}
    assert schema.error is not None
    check_roles(name, None, schema)
    for check in (check_logs, check_templates, check_security):
        check(tmp_path, name, None, schema)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("bunian", "did you mean bunyan?"),
        ("acme_bunyan:FROMAT", "expected a format at acme_bunyan:FROMAT"),
        ("acme_bunyan:LEVELS", "what is there is no Format"),
        ("acme_banyan:FORMAT", "No module named 'acme_banyan'"),
    ],
)
def test_a_format_that_is_not_there_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, problem: str
) -> None:
    monkeypatch.syspath_prepend(install_bunyan(tmp_path / "site"))
    path = tmp_path / "streamgauge.yaml"
    path.write_text(f"sources: {{app: {{topic: app, format: '{name}'}}}}\n")
    (told,) = check_paths([path], environment={}).problems
    assert problem in str(told)
    assert (told.line, told.key) == (1, "sources.app.format")
