"""Sequences of requests that mean something by themselves, from counts of one minute and of ten.

Each rule compares an entity with fixed bounds, which a person can check, and with what entities that were not
flagged do at the same time: where everyone fails to log in, or misses pages, no one is flagged for it.
A rule gives its reasons in words with numbers. Nothing is learnt, so rules work from the first step on.

Axes: N entities, C counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detectors.api.detector import PAGE, TICKET
from detectors.security.entity_features import CountName, EntityCounts, check_counts
from models.arrays import Mask, Numbers

PRIOR_REQUESTS = 200.0
"""Requests of ordinary entities that are taken for granted, with `PRIOR_SHARE` of them failing."""

PRIOR_SHARE = 0.02

USUAL_TIMES = 3.0
"""So many times the share that is usual elsewhere is not usual any more."""

SHARE_MAX = 0.6
"""However much goes wrong elsewhere, a larger share than this is usual only in a crowd."""

CROWD = 10
CROWD_SHARE = 0.2
"""So many entities, and such a share of those active, make a crowd: something broke for all of them."""

NEW_MS = 600_000
"""Since when an entity is known that is new; an attack from many addresses comes from new ones."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an entity must reach. Networks, which are many clients, get a multiple (`scaled`).

    missed, missed_span : distinct paths answered with 4xx in a minute, in ten
    missed_share        : answers 4xx, as a share of its requests
    probes, probes_span : requests for what only intruders look for
    failed              : failed logins in ten minutes, or in one where no login was seen, only refusals
    failed_share        : of its requests; who uses the site meanwhile has only forgotten a password
    refused             : refusals in ten minutes, whatever else it does
    attempts            : logins in ten minutes that the status does not tell from failed ones
    users               : users tried in ten minutes; a fast attempt reaches it in one
    stuffing_clients    : clients that fail a few times each, at once
    limited, limited_share : 429 in ten minutes, and their share
    bytes               : in ten minutes
    bytes_times         : times what the largest of a thousand entity-minutes takes
    """

    missed: float = 15
    missed_span: float = 40
    missed_share: float = 0.15
    probes: float = 5
    probes_span: float = 10
    failed: float = 10
    failed_share: float = 0.2
    refused: float = 30
    attempts: float = 30
    users: float = 8
    stuffing_clients: float = 20
    limited: float = 50
    limited_share: float = 0.3
    bytes: float = 1e9
    bytes_times: float = 10

    def scaled(self, factor: float) -> Bounds:
        """Amounts times `factor`; shares and times stay."""
        kept = ("missed_share", "failed_share", "limited_share", "bytes_times", "stuffing_clients")
        return Bounds(
            **{name: getattr(self, name) * (1 if name in kept else factor) for name in self.__slots__}
        )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is usual among entities that are not flagged.

    share  : share of requests with some count over the last ten minutes, by the count's name and for each
             entity
    active : entities seen in the last ten minutes
    usual_bytes : bytes that one of a thousand entity-minutes exceeds; infinite until that is known
    """

    share: Callable[[CountName], Numbers]
    active: int
    usual_bytes: float = np.inf

    def expected(self, name: CountName, requests: Numbers) -> Numbers:
        """Numbers [N], above how many of so many requests a count is not usual any more."""
        return np.minimum(USUAL_TIMES * self.share(name), SHARE_MAX) * requests

    def alone(self, hit: Mask, counts: EntityCounts) -> Mask:
        """`hit` without entities known for long, if so many do the same that the cause is elsewhere."""
        known = hit & (counts.now_ms - counts.first_ms >= NEW_MS)
        crowd = np.count_nonzero(known)
        return hit & ~known if crowd >= max(CROWD, CROWD_SHARE * self.active) else hit


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found.

    kind     : its name
    strength : Numbers [N], by how much the bound is exceeded, at least 1 where `hit`
    counts   : the counts that speak for it
    reason   : in words with numbers, of the entity at a position
    """

    kind: str
    severity: int
    hit: Mask
    strength: Numbers
    counts: tuple[CountName, ...]
    reason: Callable[[int], str]

    def __post_init__(self) -> None:
        check_counts(self.counts)


def find_sequences(
    counts: EntityCounts, peaks: Callable[[CountName], Numbers], usual: Surroundings, bounds: Bounds
) -> list[Finding]:
    """What all rules found, the gravest first.

    peaks : the largest value that a count had in one step of the last ten minutes : Numbers [N]
    """
    read = _Reader(counts, peaks)
    return [
        *_logins(read, usual, bounds),
        _exfiltration(read, usual, bounds),
        _scanner(read, usual, bounds),
        _rate_limit(read, usual, bounds),
    ]


def try_rules(bounds: Bounds) -> None:
    """Let all rules read what they ask for, of nobody.

    Raises ValueError where one asks for a count that there is not, which must not pass for one that a source
    does not have.
    """
    nobody = np.zeros(0)

    def nothing(name: CountName) -> Numbers:
        check_counts([name])
        return nobody

    find_sequences(EntityCounts.of_nobody(), nothing, Surroundings(nothing, 0), bounds)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Counts by name: zero where a source does not have one, an error where there is none of that name."""

    counts: EntityCounts
    peaks: Callable[[CountName], Numbers]

    def minute(self, name: CountName) -> Numbers:
        return self._read(name, span=False)

    def span(self, name: CountName) -> Numbers:
        return self._read(name, span=True)

    def has(self, name: CountName) -> bool:
        return name in self.counts.names

    def _read(self, name: CountName, *, span: bool) -> Numbers:
        found = self.counts.of(name, span=span)
        return np.zeros(len(self.counts.minute)) if found is None else found


def _logins(read: _Reader, usual: Surroundings, bounds: Bounds) -> list[Finding]:
    """Credential stuffing, password spraying and brute force, by users tried and how often each."""
    requests = read.span("requests")
    failed, attempts = read.span("failed_logins"), read.span("logins")
    users, users_now = read.span("distinct failed_user"), read.minute("distinct failed_user")
    failed_now = read.minute("failed_logins")
    # one user that fails in every step would be counted as often; several in one step are several
    many = (users >= bounds.users) & (read.peaks("distinct failed_user") >= 2) & (2 * users >= failed)
    unusual = failed > usual.expected("failed_logins", requests)
    # whoever is refused without logging in may only have a key that has expired, and asks again now and then
    enough = (failed >= bounds.failed) & ((attempts > 0) | many)
    enough |= failed_now >= bounds.failed
    enough &= failed >= bounds.failed_share * requests
    enough |= failed >= bounds.refused
    fails = usual.alone(enough & unusual, read.counts)
    fast = (users_now >= 2 * bounds.users) & (failed_now <= 1.5 * users_now)
    spread = _spread(read, usual, bounds)
    stuffing = many & fails & fast | spread
    spraying = many & fails & ~stuffing
    untold = (attempts >= bounds.attempts) & (attempts > usual.expected("logins", requests)) & (failed == 0)
    brute = (fails | untold) & ~stuffing & ~spraying
    clients = int(np.count_nonzero(spread))

    def stuffing_reason(row: int) -> str:
        if spread[row] and not (many & fails & fast)[row]:
            return (
                f"one of {clients} new clients that failed to log in at the same time, "
                f"{failed[row]:.0f} of {requests[row]:.0f} requests here"
            )
        return f"{failed_now[row]:.0f} failed logins as {users_now[row]:.0f} users within a minute"

    def spraying_reason(row: int) -> str:
        return f"{failed[row]:.0f} failed logins as {users[row]:.0f} users within 10 minutes, few for each"

    def brute_reason(row: int) -> str:
        if untold[row] and not fails[row]:
            share = attempts[row] / requests[row]
            return f"{attempts[row]:.0f} logins within 10 minutes, {share:.0%} of its requests"
        share = failed[row] / requests[row]
        return (
            f"{failed[row]:.0f} failed logins within 10 minutes, {share:.0%} of its requests; "
            f"{failed_now[row]:.0f} in the last minute"
        )

    strength = failed / bounds.failed
    counts: tuple[CountName, ...] = ("failed_logins", "401", "distinct failed_user")
    return [
        Finding("credential stuffing", PAGE, stuffing, np.maximum(strength, 1), counts, stuffing_reason),
        Finding("password spraying", PAGE, spraying, strength, counts, spraying_reason),
        Finding(
            "brute force",
            TICKET,
            brute,
            np.maximum(strength, attempts / bounds.attempts),
            ("failed_logins", "401", "logins"),
            brute_reason,
        ),
    ]


def _spread(read: _Reader, usual: Surroundings, bounds: Bounds) -> Mask:
    """Clients that fail a few times each, many at once, and are new: one attack from many addresses."""
    failed, requests = read.span("failed_logins"), read.span("requests")
    counts = read.counts
    new = counts.now_ms - counts.first_ms < NEW_MS
    few = (failed >= 2) & (failed <= bounds.failed) & (2 * failed >= requests)
    few &= failed > usual.expected("failed_logins", requests)
    suspects: Mask = few & new
    enough = np.count_nonzero(suspects) >= bounds.stuffing_clients
    # where most that fail have been here for long, an outage of the login is the likelier cause
    mostly_new = np.count_nonzero(suspects) >= 0.8 * np.count_nonzero(few)
    return suspects if enough and mostly_new else np.zeros(len(suspects), np.bool_)


def _scanner(read: _Reader, usual: Surroundings, bounds: Bounds) -> Finding:
    """Many distinct paths that are not there, or requests that only an intruder makes."""
    name: CountName = "distinct missed_path" if read.has("distinct missed_path") else "4xx"
    requests, requests_span = read.minute("requests"), read.span("requests")
    missed, missed_span = read.minute(name), read.span(name)
    probes, probes_span = read.minute("probes"), read.span("probes")
    refused, refused_span = read.minute("4xx"), read.span("4xx")
    now = (missed >= bounds.missed) & (refused >= bounds.missed_share * requests)
    now &= refused > usual.expected("4xx", requests)
    # a page that asks for the same missing file again and again has one in every step
    slow = (missed_span >= bounds.missed_span) & (refused_span >= bounds.missed_share * requests_span)
    slow &= refused_span > usual.expected("4xx", requests_span)
    slow &= read.peaks(name) >= bounds.missed / 3
    probing = (probes >= bounds.probes) | (probes_span >= bounds.probes_span)
    probing &= probes_span > usual.expected("probes", requests_span)

    def reason(row: int) -> str:
        parts = []
        if now[row] or (slow[row] and missed[row] > 0):
            parts.append(
                f"{missed[row]:.0f} distinct paths that are not there and {refused[row]:.0f} answers 4xx "
                f"to {requests[row]:.0f} requests within a minute"
            )
        if slow[row]:
            parts.append(f"{missed_span[row]:.0f} distinct missing paths within 10 minutes")
        if probing[row]:
            parts.append(f"{probes_span[row]:.0f} requests that look for holes within 10 minutes")
        return "; ".join(parts)

    now, slow = usual.alone(now, read.counts), usual.alone(slow, read.counts)
    strength = np.maximum.reduce(
        [
            np.where(now, missed / bounds.missed, 0),
            np.where(slow, missed_span / bounds.missed_span, 0),
            np.where(probing, np.maximum(probes / bounds.probes, probes_span / bounds.probes_span), 0),
        ]
    )
    return Finding("scanner", TICKET, now | slow | probing, strength, (name, "4xx", "404", "probes"), reason)


def _exfiltration(read: _Reader, usual: Surroundings, bounds: Bounds) -> Finding:
    """Far more bytes than anybody takes."""
    taken = read.span("bytes")
    usually = usual.usual_bytes * bounds.bytes_times
    bound = max(bounds.bytes, usually if np.isfinite(usually) else 10 * bounds.bytes)

    def reason(row: int) -> str:
        text = f"{taken[row] / 1e6:,.0f} MB within 10 minutes over {read.span('requests')[row]:.0f} requests"
        return (
            text
            if not np.isfinite(usually)
            else f"{text}; one minute of a thousand exceeds {usual.usual_bytes / 1e6:,.1f} MB"
        )

    return Finding("exfiltration", PAGE, taken >= bound, taken / bound, ("bytes",), reason)


def _rate_limit(read: _Reader, usual: Surroundings, bounds: Bounds) -> Finding:
    """Entities that are told to slow down (429) and do not."""
    requests, limited = read.span("requests"), read.span("429")
    hit = (limited >= bounds.limited) & (limited >= bounds.limited_share * requests)
    hit = usual.alone(hit & (limited > usual.expected("429", requests)), read.counts)

    def reason(row: int) -> str:
        return (
            f"{limited[row]:.0f} requests beyond the rate limit (429) within 10 minutes, "
            f"{limited[row] / requests[row]:.0%} of its requests"
        )

    return Finding("rate-limit abuse", TICKET, hit, limited / bounds.limited, ("429", "requests"), reason)
