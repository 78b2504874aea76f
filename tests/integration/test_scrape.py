"""A worker's page as real peers read it: promtool finds nothing to complain of, Prometheus scrapes it."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from detectors.feedback.labels import Precision
from streams.publish.metrics.page import render
from streams.publish.metrics.snapshot import DetectorSnapshot, Exemplar, WorkerSnapshot
from tests.services.http import get_json
from tests.services.process import wait_until
from tests.services.prometheus import Prometheus, promtool_check_metrics, scrape_config
from tests.unit.streams.publish.metrics.test_forecast_families import planned
from tests.unit.streams.publish.metrics.test_page import (
    MINUTE,
    ROLLUP,
    SOURCE,
    rollup_snapshot,
    sketch_of,
    slo_snapshot,
)


def full_snapshot() -> WorkerSnapshot:
    """Something of every metric, with labels that need escaping."""
    now_ms = int(time.time() * 1000)
    rollup = rollup_snapshot(
        [("/",), ('/a "quoted" \\ path\n',)],
        rollup=replace(ROLLUP, histogram=(0.1, 1.0)),
        sketches={5 * MINUTE: sketch_of({0: [0.1, 0.2], 1: [3.0]})},
        buckets=np.array([[10, 8000], [20, 9000]]),
        sum_seconds=np.array([12.5, 0.5]),
        distinct={("client", 5 * MINUTE): np.array([17.0, 3.0])},
        exemplars={0: Exemplar("4bf92f3577b34da6", 0.25, now_ms, error=True)},
    )
    return WorkerSnapshot(
        "1",
        sources=[SOURCE],
        rollups=[rollup],
        slos=[slo_snapshot()],
        detectors=[
            DetectorSnapshot(
                source="checkout",
                detector="traffic",
                by=("http.route",),
                series=[("/",), ("/b",)],
                tail=np.array([0.25, np.nan]),
                long_lived=True,
                anomalies={("spike", "page"): 2},
                failures=0,
                seconds=0.5,
                shadow=(2, 3, 1),
            )
        ],
        forecasts=planned(),
        models={("traffic", "champion"): "000001-0123456789ab"},
        model_failures={("traffic", "hash"): 1},
        retrainings={("traffic", "trained"): 1},
        labels={"traffic": Precision(real=3, noise=1)},
        alerts={("ErrorBudgetBurn", "firing"): 1},
        left_out={"streamgauge-alerts": 1},
        deliveries={("alertmanager", "sent"): 3},
    )


def test_promtool_has_nothing_to_say() -> None:
    page, _ = render(full_snapshot())
    assert promtool_check_metrics(page.decode()) == []


@pytest.fixture
def page_address() -> Iterator[str]:
    """`host:port` of a page that a scrape makes anew each time."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, content_type = render(full_snapshot(), self.headers.get("Accept", ""))
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output free of a line per scrape."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_prometheus_reads_every_metric_and_keeps_the_exemplars(
    page_address: str, prometheus_factory: Callable[..., Prometheus]
) -> None:
    prometheus = prometheus_factory(scrape_config(page_address), flags=("--enable-feature=exemplar-storage",))
    prometheus.wait_for("streamgauge_build_info")
    (target,) = prometheus.targets()
    assert target["lastError"] == ""
    assert prometheus.value('streamgauge_sli_ratio{window="5m"}') == 0.99
    quoted = prometheus.query('streamgauge_requests_total{route!="/"}')
    assert [sample["metric"]["route"] for sample in quoted] == ['/a "quoted" \\ path\n']
    assert len(prometheus.query('streamgauge_request_duration_seconds{quantile="0.5"}')) == 2
    median = prometheus.value(
        'histogram_quantile(0.5, streamgauge_request_duration_seconds_bucket{route="/"})'
    )
    assert median is not None
    assert 0.1 < median < 1.0

    def exemplars() -> list[str]:
        now = time.time()
        answer = get_json(
            f"{prometheus.url}/api/v1/query_exemplars",
            params={
                "query": "streamgauge_request_errors_total",
                "start": f"{now - 60}",
                "end": f"{now + 60}",
            },
        )
        return [each["labels"]["trace_id"] for entry in answer["data"] for each in entry["exemplars"]]

    wait_until(lambda: bool(exemplars()), timeout_s=20.0, what="an exemplar")
    assert set(exemplars()) == {"4bf92f3577b34da6"}
