"""Detectors by name. A package adds its own with an entry point in the group `streamgauge.detectors`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from detectors.api.detector import Detector

GROUP = "streamgauge.detectors"


class DetectorError(ValueError):
    """There is no such detector, or it cannot be made with these settings."""


def names() -> tuple[str, ...]:
    """Names of all detectors that are installed, sorted."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def plain_name(name: str) -> str:
    """What a detector is called where `package.module:Class` cannot stand: the class, in lower case.

    >>> plain_name("quota_detector:QuotaDetector"), plain_name("traffic")
    ('quotadetector', 'traffic')
    """
    return name.rpartition(":")[2].lower()


def load(name: str) -> Callable[..., Any]:
    """What makes a detector, by the name of its entry point or as `package.module:Class`.

    Raises DetectorError where there is none or it cannot be imported.
    """
    if ":" in name:
        found: EntryPoint | None = EntryPoint(name, name, GROUP)
    else:
        found = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        raise DetectorError(f"no detector is called {name!r}; there are {', '.join(names()) or 'none'}")
    try:
        loaded = found.load()
    except Exception as error:
        # importing the module of somebody else may raise anything
        raise DetectorError(f"detector {name!r} cannot be loaded from {found.value}: {error}") from error
    if not callable(loaded):
        raise DetectorError(f"detector {name!r} cannot be loaded from {found.value}: it is no class")
    made: Callable[..., Any] = loaded
    return made


def make(name: str, /, **settings: Any) -> Detector:
    """A detector, by the name of its entry point or as `package.module:Class`, and its settings.

    Raises DetectorError where there is none, it cannot be imported, or it does not take the settings.
    """
    made = load(name)
    try:
        detector = made(**settings)
    except (TypeError, ValueError) as error:
        raise DetectorError(f"detector {name!r}: {error}") from error
    except Exception as error:
        raise DetectorError(f"detector {name!r}: {type(error).__name__}: {error}") from error
    if not isinstance(detector, Detector):
        raise DetectorError(f"{name} is not a detector: it lacks methods of detectors.api.detector.Detector")
    return detector
