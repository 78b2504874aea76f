"""`incidents` of a configuration: which anomalies and alerts become one incident."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field as Key
from pydantic import model_validator

from detectors.alerts.incidents import IncidentBook
from streams.config.values import Duration, PositiveDuration, Texts, milliseconds
from streams.language.yaml.validation import Model, reject_key


class Incidents(Model):
    """How anomalies and alerts are grouped.

    upstreams : service to the services it depends on
    gap       : longest time between what belongs together
    quiet     : after which an incident ends
    """

    upstreams: Mapping[Annotated[str, Key(min_length=1)], Texts] = Key(default_factory=dict)
    gap: Duration = Key(default="5m", validate_default=True)
    quiet: PositiveDuration = Key(default="15m", validate_default=True)

    @model_validator(mode="after")
    def _gap_fits(self) -> Incidents:
        if self.gap > self.quiet:
            reject_key("gap", "at most quiet, since what has ended takes in nothing")
        return self

    def book(self) -> IncidentBook:
        """An empty book that groups so."""
        return IncidentBook(
            upstreams=self.upstreams, gap_ms=milliseconds(self.gap), quiet_ms=milliseconds(self.quiet)
        )
