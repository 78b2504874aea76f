"""A receiver of HTTP posts that keeps what it gets: the last link of an alert's way to a person."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable
from typing import Any

from tests.services.process import wait_until


class Webhook:
    """Answers every POST, and keeps the JSON body of those that it accepts.

    url    : where to post to, known before `start`
    posts  : the accepted bodies in the order of their arrival
    answer : body to status, 200 for all by default; runs in the request's own thread and may take its time
    port   : to listen on; 0 chooses a free one
    """

    def __init__(self, port: int = 0, answer: Callable[[Any], int] = lambda _body: 200) -> None:
        self.posts: list[Any] = []
        self.answer = answer
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                body = json.loads(self.rfile.read(length))
                status = hook.answer(body)
                if status < 300:
                    hook.posts.append(body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output free of a line per request."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def alerts(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the alerts of all of Alertmanager's posts so far, oldest first, each with its `status`."""
        return [
            alert
            for post in list(self.posts)
            for alert in post["alerts"]
            if name is None or alert["labels"]["alertname"] == name
        ]

    def wait_for(self, name: str, status: str, *, timeout_s: float = 30.0) -> None:
        """Wait until the alert of this name was notified as `firing` or `resolved`."""
        wait_until(
            lambda: any(alert["status"] == status for alert in self.alerts(name)),
            timeout_s=timeout_s,
            what=f"a notification of {name} {status}",
        )
