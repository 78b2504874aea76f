"""A real Alertmanager on a free loopback port, alone (no gossip), with data in a temporary folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.services.http import answers, get_json
from tests.services.process import ServerProcess, free_ports, require_program, wait_until
from tests.services.webhook import Webhook


class Alertmanager:
    """Alertmanager with one receiver, a webhook of our own, so that tests see what a person would get.

    url     : `http://127.0.0.1:PORT`
    webhook : the receiver; its `alerts()` holds everything that was notified
    config  : another configuration, text or mapping, in place of the one with the webhook
    """

    def __init__(self, config: str | Mapping[str, Any] | None = None) -> None:
        program = require_program(
            "prometheus-alertmanager",
            "alertmanager",
            package="prometheus-alertmanager",
            purpose="A test of the alerts",
        )
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.webhook = Webhook()
        self.folder = Path(tempfile.mkdtemp(prefix="streamgauge-alertmanager-"))
        chosen = config if config is not None else self._notify_at_once()
        text = chosen if isinstance(chosen, str) else yaml.safe_dump(dict(chosen), sort_keys=False)
        (self.folder / "alertmanager.yml").write_text(text)
        self._server = ServerProcess(
            "Alertmanager",
            [
                program,
                f"--config.file={self.folder / 'alertmanager.yml'}",
                f"--storage.path={self.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            log=self.folder / "alertmanager.log",
        )

    def _notify_at_once(self) -> dict[str, Any]:
        return {
            "route": {
                "receiver": "webhook",
                "group_by": ["..."],
                "group_wait": "0s",
                "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "receivers": [
                {"name": "webhook", "webhook_configs": [{"url": self.webhook.url, "send_resolved": True}]}
            ],
        }

    def __enter__(self) -> Self:
        try:
            self.webhook.start()
            self._server.start()
            self._server.wait_until(lambda: answers(f"{self.url}/-/ready"), timeout_s=60.0)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._server.kill()
        self.webhook.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log_tail(self) -> str:
        return self._server.log_tail()

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are firing now, as `/api/v2/alerts` gives them."""
        found: list[dict[str, Any]] = get_json(f"{self.url}/api/v2/alerts")
        return found

    def alert(self, name: str) -> dict[str, Any] | None:
        """Return the firing alert of this name, or None."""
        found = [alert for alert in self.alerts() if alert["labels"]["alertname"] == name]
        assert len(found) <= 1, f"{len(found)} alerts are called {name}, expected one"
        return found[0] if found else None

    def wait_for(self, name: str, *, firing: bool = True, timeout_s: float = 30.0) -> None:
        """Wait until the alert of this name is there, or is gone."""
        wait_until(
            lambda: (self.alert(name) is not None) == firing,
            timeout_s=timeout_s,
            what=f"alert {name} {'firing' if firing else 'gone'}",
        )
