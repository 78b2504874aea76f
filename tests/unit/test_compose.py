"""`docker-compose.yaml`, `Dockerfile` and what they mount, as far as no container engine is needed.

tests/golden/compose-spec.json is the Compose Specification's own schema, schema/compose-spec.json of
github.com/compose-spec/compose-go v2.16.2 (Apache-2.0).
"""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from streams.compile.check import check_paths

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())


def instructions(name: str) -> list[str]:
    """Arguments of a Dockerfile's instructions of one kind, in order."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def mounts(service: dict[str, Any]) -> list[tuple[str, str]]:
    """Source and target of a service's volumes."""
    return [tuple(volume.split(":")[:2]) for volume in service.get("volumes", [])]


def run_order(name: str) -> set[str]:
    """Services that a service waits for, and those that they wait for."""
    before = set(SERVICES[name].get("depends_on", {}))
    return before.union(*(run_order(each) for each in before))


def test_the_file_holds_the_compose_specification() -> None:
    schema = json.loads((ROOT / "tests" / "golden" / "compose-spec.json").read_text())
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(COMPOSE))
    assert [f"{error.json_path}: {error.message}" for error in errors] == []
    broken = {**COMPOSE, "services": {"kafka": {"imag": "x"}}}
    assert not jsonschema.Draft202012Validator(schema).is_valid(broken), "the schema refuses nothing"


def test_docker_reads_it() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker with its compose plugin is not installed")
    done = subprocess.run(
        [
            docker,
            "compose",
            "--file",
            str(ROOT / "docker-compose.yaml"),
            "--profile",
            "*",
            "config",
            "--quiet",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_it_runs_what_a_set_up_needs() -> None:
    default = {name for name, service in SERVICES.items() if not service.get("profiles")}
    assert default == {"kafka", "topics", "worker-1", "worker-2", "prometheus", "alertmanager", "grafana"}
    for worker in ("worker-1", "worker-2"):
        assert SERVICES[worker]["command"] == ["worker", "-c", "/etc/streamgauge/streamgauge.yaml"]
        assert {"kafka", "topics", "alertmanager"} <= run_order(worker)
    assert "broker,controller" in SERVICES["kafka"]["environment"]["KAFKA_PROCESS_ROLES"]


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_and_ports_are_this_machines_own(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        assert service["image"] == "streamgauge:local"
    else:
        assert re.fullmatch(r"[a-z./-]+:v?\d+\.\d+\.\d+", service["image"]), "a full version"
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), f"{port} is open to the network"


def test_no_two_services_publish_the_same_port() -> None:
    published = [port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == len(set(published))


@pytest.mark.parametrize("name", SERVICES)
def test_every_mounted_file_exists(name: str) -> None:
    for source, _ in mounts(SERVICES[name]):
        if source.startswith("."):
            assert (ROOT / source).exists(), f"{source} is mounted, but is not there"
        else:
            assert source in COMPOSE["volumes"]


def test_what_waits_for_health_has_a_health_check() -> None:
    for service in SERVICES.values():
        for name, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name]


@pytest.mark.parametrize("name", ["worker-1", "otel-worker"])
def test_workers_run_on_configurations_that_hold(name: str, tmp_path: Path) -> None:
    service = SERVICES[name]
    for source, target in mounts(service):
        path = tmp_path / target.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(ROOT / source)
    config = tmp_path / service["command"][2].lstrip("/")
    report = check_paths([config], service.get("environment", {}))
    assert [str(problem) for problem in report.problems] == []
    assert len(report.files) > 1, "its SLOs are checked with it"


@pytest.mark.parametrize("name", ["worker-1", "worker-2", "otel-worker"])
def test_addresses_within_the_set_up_exist(name: str) -> None:
    service = SERVICES[name]
    environment = service.get("environment")
    if environment:
        bootstrap, host = environment["STREAMGAUGE_BROKER__BOOTSTRAP"], environment["STREAMGAUGE_WEB__HOST"]
        alertmanager = environment["STREAMGAUGE_SINKS__ALERTMANAGER__URL"]
    else:
        config = yaml.safe_load((ROOT / "monitoring" / "streamgauge.yaml").read_text())
        bootstrap, host = config["broker"]["bootstrap"], config["web"]["host"]
        alertmanager = config["sinks"]["alertmanager"]["url"]
    assert f"INTERNAL://{bootstrap}," in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert host == "0.0.0.0", "the port is published from outside the container"
    assert re.fullmatch(r"http://(\S+):9093", alertmanager)[1] in SERVICES  # type: ignore[index]


def test_the_topics_that_are_read_are_set_up() -> None:
    made = set(SERVICES["topics"]["environment"]["TOPICS"].split())
    for path in ("monitoring/streamgauge.yaml", "examples/otlp.yaml"):
        sources = yaml.safe_load((ROOT / path).read_text())["sources"]
        assert {source["topic"] for source in sources.values()} <= made
    collector = yaml.safe_load((ROOT / "monitoring" / "otel-collector.yaml").read_text())
    exporter = collector["exporters"]["kafka"]
    assert {exporter[signal]["topic"] for signal in ("metrics", "logs", "traces")} <= made
    for pipeline in collector["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(collector[kind])


def test_the_image_is_slim_runs_without_root_and_starts_the_command() -> None:
    assert all(re.match(r"python:3\.\d+-slim", image) for image in instructions("FROM"))
    assert instructions("USER") == ["10001"]
    assert instructions("ENTRYPOINT") == ['["streamgauge"]']
    assert instructions("STOPSIGNAL") == ["SIGTERM"]


def test_what_the_package_is_built_from_reaches_the_image() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!").removesuffix("/**") for line in lines if line.startswith("!")}
    assert lines[1] == "*", "everything else stays out"
    assert {"pyproject.toml", "requirements.lock", "README.md", "streams", "detectors", "models"} <= kept


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (None, False)])
def test_the_health_check_asks_the_worker(status: int | None, healthy: bool) -> None:
    class Worker(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status or 500 if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output free of a line per request."""

    (check,) = instructions("HEALTHCHECK")
    command = json.loads(check[check.index("CMD ") + 4 :])
    assert command[0] == "python"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Worker) as server:
        port = server.server_address[1]
        if status is not None:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        else:
            server.server_close()  # nothing listens any more
        done = subprocess.run(
            [sys.executable, *command[1:]],
            env={**os.environ, "STREAMGAUGE_WEB__PORT": str(port)},
            capture_output=True,
            timeout=30,
        )
        if status is not None:
            server.shutdown()
    assert (done.returncode == 0) is healthy
