"""`detectors.logs` of a configuration: whose lines are grouped to templates and watched."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field as Key

from streams.config.values import Condition, Duration
from streams.language.yaml.validation import Model


class LogsEntry(Model):
    """A source of log lines.

    message : the column of the text; the format's own if left out, `body` if it has none
    service : the column that tells services apart; without one all lines are of one service
    error   : which lines are errors, for their share among a service's lines
    warm_up : how long a service's lines are only learnt from
    limit   : signatures that a 10 s bucket of a partition may hold before the rest folds
    review  : file of decisions about templates, relative to the configuration
    """

    source: Annotated[str, Key(min_length=1)]
    message: str | None = None
    service: str | None = None
    where: Condition | None = None
    error: Condition | None = None
    warm_up: Duration = Key(default="1d", validate_default=True)
    false_alarms_per_series_per_week: Annotated[float, Key(gt=0, le=100)] = 0.1
    limit: Annotated[int, Key(ge=1, le=1_000_000)] = 5_000
    review: Annotated[str, Key(min_length=1)] | None = None
