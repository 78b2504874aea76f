"""A detector's state under a head that tells whose it is, and of which version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectors.api.detector import State


class Stateful:
    """Base of detectors with a state: they say what they have learnt, and load it again.

    name          : the detector's
    state_version : to be raised when what has been stored before cannot be loaded any more
    """

    name: str
    state_version: int = 1

    def _learnt(self) -> Mapping[str, Any]:
        """All that has been learnt, by names; none of the settings."""
        raise NotImplementedError

    def _load(self, state: State) -> None:
        """Take over what `_learnt` gave.

        A name that is lacking or a value of a wrong type may raise whatever it does; ValueError tells what is
        wrong otherwise.
        """
        raise NotImplementedError

    def state(self) -> State:
        """All that has been learnt, for `restore`."""
        return {"detector": self.name, "version": self.state_version, **self._learnt()}

    def restore(self, state: State) -> None:
        """Continue exactly where `state` was taken.

        Raises ValueError if it is not a state of this detector and version.
        """
        found, version = state.get("detector"), state.get("version")
        if (found, version) != (self.name, self.state_version):
            raise ValueError(
                f"not a state of {self.name}: version {self.state_version} expected, "
                f"got {found!r} version {version!r}; fit anew"
            )
        try:
            self._load(state)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ValueError(f"the state of {self.name} is incomplete: {error}; fit anew") from error
