"""Fixtures that bring the real peers, and the option that rewrites golden files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from tests.services.alertmanager import Alertmanager
from tests.services.kafka import Broker, open_broker
from tests.services.process import MissingServiceError, start_children_with_default_signals
from tests.services.prometheus import Prometheus
from tests.services.topics import unique_name

_missing: dict[str, None] = {}
"""What the machine lacks, each sentence once, in the order it was found."""


start_children_with_default_signals()

# How long an example takes is the machine's affair, and what else runs on it.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden files with what the code gives now"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _missing:
        terminalreporter.section("this machine lacks something that the tests need")
        for sentence in _missing:
            terminalreporter.write_line(sentence)


def _missing_peer(error: MissingServiceError) -> NoReturn:
    """In CI a peer that is not there is a failure; elsewhere the test is skipped and the summary says why."""
    _missing[str(error)] = None
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(str(error), pytrace=False)
    pytest.skip(str(error))


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten; the diff is then for review."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """One real broker for all tests of a run; each uses topics and groups of unique names."""
    with contextlib.ExitStack() as stack:
        try:
            broker = stack.enter_context(open_broker())
        except MissingServiceError as error:
            _missing_peer(error)
        yield broker


@pytest.fixture
def topic_name() -> Callable[[str], str]:
    """Give names that no other test has, for topics, groups and apps."""
    return unique_name


@pytest.fixture(scope="session")
def prometheus_factory() -> Iterator[Callable[..., Prometheus]]:
    """Start Prometheus servers, `prometheus_factory(config)`, that end with the test run."""
    with contextlib.ExitStack() as stack:

        def start(*args: object, **kwargs: object) -> Prometheus:
            try:
                return stack.enter_context(Prometheus(*args, **kwargs))  # type: ignore[arg-type]
            except MissingServiceError as error:
                _missing_peer(error)

        yield start


@pytest.fixture
def alertmanager() -> Iterator[Alertmanager]:
    """An empty Alertmanager of the test's own, which notifies a webhook at once."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(Alertmanager())
        except MissingServiceError as error:
            _missing_peer(error)
        yield server


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with real data, named by STREAMGAUGE_DATA."""
    folder = os.environ.get("STREAMGAUGE_DATA")
    if not folder:
        pytest.skip("STREAMGAUGE_DATA names no folder with the real data")
    path = Path(folder).resolve()
    if not path.is_dir():
        pytest.fail(f"STREAMGAUGE_DATA is {folder}, which is no folder", pytrace=False)
    return path
