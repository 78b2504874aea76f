"""Whether a model may become champion: by its alarm volume, and by labels, on a backtest.

The alarm volume must fit the rate that was asked for, or that of the champion where it is higher: what is
really wrong in the data raises alarms in both. Alarms are rare, so that a short backtest says little: the
count is tested against Poisson distributions at the bounds, and only what these make improbable is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from scipy.stats import poisson

from models.registry.backtest import Backtest

__all__ = ["Check", "Decision", "Gate", "decide"]


@dataclass(frozen=True, slots=True)
class Gate:
    """What is asked of a model that is to be promoted.

    volume_factor  : unexplained alarms may be this many times the asked rate
    silence_factor : alarms may be this many times fewer
    slack          : precision and recall may be this much below the champion's
    judged_min     : share of what was seen that must get a verdict
    probability    : counts less probable than this at a bound are beyond it
    """

    volume_factor: float = 2.0
    silence_factor: float = 20.0
    slack: float = 0.02
    judged_min: float = 0.5
    probability: float = 0.01


@dataclass(frozen=True, slots=True)
class Check:
    """One question to a model, and its answer in words."""

    name: str
    passed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """All checks of a model."""

    checks: tuple[Check, ...]

    @property
    def promote(self) -> bool:
        """Whether all have passed."""
        return all(check.passed for check in self.checks)


def decide(
    candidate: Backtest, champion: Backtest | None, *, target: float, gate: Gate | None = None
) -> Decision:
    """Check a model against what was asked for and against the champion.

    champion : None where there is none; labels are then compared with nothing
    target   : alarms per series and week that were asked for
    """
    gate = gate or Gate()
    labelled = (_labelled(name, candidate, champion, gate) for name in ("precision", "recall"))
    return Decision((_volume(candidate, champion, target, gate), _judged(candidate, gate), *labelled))


def _volume(candidate: Backtest, champion: Backtest | None, target: float, gate: Gate) -> Check:
    expected = target * candidate.series_weeks
    rate = champion.alarms_per_series_per_week if champion else 0.0
    allowed = max(expected * gate.volume_factor, rate * candidate.series_weeks)
    count = candidate.unexplained
    text = (
        f"{count:,} unexplained alarms in {candidate.series_weeks:,.1f} series-weeks "
        f"({candidate.alarms_per_series_per_week:.3g} a series and week); asked for are {target:g}"
    )
    if champion:
        text += f", the champion has {rate:.3g}"
    too_many = float(poisson.sf(count - 1, allowed)) < gate.probability
    too_few = float(poisson.cdf(candidate.episodes, expected / gate.silence_factor)) < gate.probability
    if too_many:
        text += f", at most {gate.volume_factor:g} times as many are allowed"
    if too_few:
        text += ", with far fewer alarms in all than asked for"
    return Check("alarm volume", not (too_many or too_few), text)


def _judged(candidate: Backtest, gate: Gate) -> Check:
    return Check(
        "coverage",
        candidate.judged >= gate.judged_min,
        f"{100 * candidate.judged:.0f} % of what was seen got a verdict, "
        f"at least {100 * gate.judged_min:.0f} % must",
    )


def _labelled(name: str, candidate: Backtest, champion: Backtest | None, gate: Gate) -> Check:
    own: float | None = getattr(candidate, name)
    other: float | None = getattr(champion, name) if champion else None
    if other is None:
        known = "there are no labels" if own is None else f"{own:.2f}"
        against = "the champion's is unknown" if champion else "there is no champion to compare with"
        return Check(name, True, f"{known}; {against}")
    if own is None and name == "precision":
        # It raised none of the labelled alarms, of which the champion raised noise as well: recall decides.
        return Check(name, True, f"it raised no labelled alarm; the champion's is {other:.2f}")
    passed = own is not None and own >= other - gate.slack
    return Check(name, passed, f"{'unknown' if own is None else f'{own:.2f}'}; the champion's is {other:.2f}")
