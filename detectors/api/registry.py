"""Detectors by name. A package adds its own with an entry point in the group `streamgauge.detectors`."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from detectors.api.detector import Detector

GROUP = "streamgauge.detectors"


class DetectorError(ValueError):
    """There is no such detector, or it cannot be made with these settings."""


def names() -> tuple[str, ...]:
    """Names of all detectors that are installed, sorted."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def make(name: str, **settings: Any) -> Detector:
    """A detector, by the name of its entry point or as `package.module:Class`, and its settings.

    Raises DetectorError where there is none, it cannot be imported, or it does not take the settings.
    """
    if ":" in name:
        found: EntryPoint | None = EntryPoint(name, name, GROUP)
    else:
        found = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        raise DetectorError(f"no detector is called {name!r}; there are {', '.join(names()) or 'none'}")
    try:
        detector = found.load()(**settings)
    except (ImportError, AttributeError) as error:
        raise DetectorError(f"detector {name!r} cannot be loaded from {found.value}: {error}") from error
    except (TypeError, ValueError) as error:
        raise DetectorError(f"detector {name!r}: {error}") from error
    if not isinstance(detector, Detector):
        raise DetectorError(
            f"{found.value} is not a detector: it lacks methods of detectors.api.detector.Detector"
        )
    return detector
