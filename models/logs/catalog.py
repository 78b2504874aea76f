"""The catalogue of log templates: what people see, review and keep.

Each signature has an id, a hash of its text; a template's id is that of its oldest signature. When
templates merge, the older id stays and the other goes on as an alias, so that a link or a review written
for it still finds it. A review names a template, ignores it, or merges it into another by hand; reviews are
part of the state, and hold for templates that come later too.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from models.arrays import Counts, EpochMs, Rows
from models.logs.csv_cells import cell
from models.logs.drain import TemplateMiner
from models.logs.masks import WILDCARD
from models.logs.reviews import Review

STATE_VERSION = 1

SIGNATURE_COUNT_MAX = 20_000
"""Signatures that are told apart; all further ones count as `<*>`. About 2 kB each."""

EXAMPLE_LENGTH_MAX = 300
"""Characters of an example that are kept."""


_NEVER_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class Template:
    """One template as it stands.

    text          : words that all its lines share, `<*>` for the others
    count         : lines so far
    first_seen_ms : epoch milliseconds; 0 where lines tell no time
    example       : a line as it came, the first one
    aliases       : ids of its other signatures, oldest first
    name          : what a review calls it, "" without one
    ignored       : whether a review said that it is not to be judged
    """

    id: str
    text: str
    count: int
    first_seen_ms: int
    last_seen_ms: int
    example: str
    aliases: tuple[str, ...] = ()
    name: str = ""
    ignored: bool = False


def template_id(signature: str) -> str:
    """The id of a signature: equal on every machine.

    >>> template_id("Connection closed by <*>")
    'tbd0734d8f8'
    """
    return "t" + hashlib.sha256(signature.encode("utf-8", "surrogatepass")).hexdigest()[:10]


class TemplateCatalog:
    """Templates with counts, times and examples; all of it in `state`."""

    def __init__(self) -> None:
        self._miner = TemplateMiner()
        self._rows: dict[str, int] = {}
        self._signature_of: dict[str, str] = {}
        self._examples: list[str] = []
        self._count = np.zeros(0, np.int64)
        self._first_ms = np.zeros(0, np.int64)
        self._last_ms = np.zeros(0, np.int64)
        self._reviews: dict[str, Review] = {}

    def __len__(self) -> int:
        """Signatures seen."""
        return len(self._rows)

    def observe(
        self,
        signatures: Sequence[str],
        counts: Counts,
        times_ms: EpochMs,
        examples: Mapping[str, str] | None = None,
    ) -> None:
        """Take lines of some signatures over.

        counts   : Counts [E], lines of each signature
        times_ms : EpochMs [E], when they came
        examples : a line by signature, where there are any; the first one given is kept
        """
        new = [signature for signature in dict.fromkeys(signatures) if signature not in self._rows]
        room = SIGNATURE_COUNT_MAX - len(self._rows)
        if len(new) > room:
            new = [*new[: max(room, 0)], *({WILDCARD} - set(self._rows))]
            signatures = self._told_apart(signatures, new)
        for signature in new:
            self._rows[signature] = len(self._rows)
            self._signature_of[template_id(signature)] = signature
            self._examples.append((examples or {}).get(signature, "")[:EXAMPLE_LENGTH_MAX])
        self._miner.learn(new)
        self._count = np.append(self._count, np.zeros(len(new), np.int64))
        self._first_ms = np.append(self._first_ms, np.full(len(new), _NEVER_MS))
        self._last_ms = np.append(self._last_ms, np.full(len(new), -_NEVER_MS))
        rows = np.fromiter(map(self._rows.__getitem__, signatures), np.int64, len(signatures))
        np.add.at(self._count, rows, counts)
        np.minimum.at(self._first_ms, rows, times_ms)
        np.maximum.at(self._last_ms, rows, times_ms)
        if new and self._reviews:
            self._merge_reviewed()

    def adopt(self, other: TemplateCatalog) -> None:
        """Add what another catalogue knows of signatures that this one does not, and its reviews of those."""
        new = [signature for signature in other._rows if signature not in self._rows]
        rows = np.array([other._rows[signature] for signature in new], np.int64)
        examples = {signature: other._examples[other._rows[signature]] for signature in new}
        self.observe(new, other._count[rows], other._first_ms[rows], examples)
        self.observe(new, np.zeros(len(new), np.int64), other._last_ms[rows])
        known = {template_id(signature) for signature in new} & set(self._signature_of)
        for name in known & set(other._reviews):
            review = other._reviews[name]
            if not review.merge_into or review.merge_into in self._signature_of:
                self._reviews[name] = review
        self._merge_reviewed()

    def templates_of(self, signatures: Sequence[str]) -> Rows:
        """Rows [E], a number for the template of each signature; equal for those that are one template now.

        Raises KeyError for a signature that was never observed.
        """
        return self._miner.templates(self._told_apart(signatures))

    def signatures(self) -> list[list[str]]:
        """The signatures of each template, the oldest first."""
        return list(self._miner.members().values())

    def id_of(self, signature: str) -> str:
        """The id of the template that a signature belongs to now."""
        row = int(self.templates_of([signature])[0])
        return template_id(self._miner.members()[row][0])

    def templates(self) -> list[Template]:
        """All templates, the most frequent first."""
        found = [self._template(members) for members in self.signatures()]
        return sorted(found, key=lambda template: (-template.count, template.id))

    def ignored(self) -> frozenset[str]:
        """Signatures that a review said are not to be judged."""
        ids = {review.id for review in self._reviews.values() if review.ignored}
        if not ids:
            return frozenset()
        return frozenset(
            signature
            for members in self._miner.members().values()
            if ids & {template_id(member) for member in members}
            for signature in members
        )

    def review(self, reviews: Iterable[Review]) -> None:
        """Take decisions over; a later one about the same id replaces an earlier one, save that merges stay.

        Raises ValueError for an id of no template.
        """
        for review in reviews:
            for found in filter(None, (review.id, review.merge_into)):
                if found not in self._signature_of:
                    raise ValueError(
                        f"no template has or had the id {found!r}; export the templates to see them"
                    )
            kept = self._reviews.get(review.id)
            if kept and not review.merge_into:
                review = Review(review.id, review.name, review.ignored, kept.merge_into)
            self._reviews[review.id] = review
        self._merge_reviewed()

    def decide(self, reviews: Iterable[Review]) -> bool:
        """Take a whole review over in place of all decisions so far, save that merges stay.

        What it says of templates that have not come yet holds once they do. Returns whether that changes
        any decision.
        """
        merged = [each for each in self._reviews.values() if each.merge_into]
        decided = {each.id: Review(each.id, merge_into=each.merge_into) for each in merged}
        for review in reviews:
            kept = decided.get(review.id)
            into = review.merge_into or (kept.merge_into if kept else "")
            decided[review.id] = replace(review, merge_into=into)
        if decided == self._reviews:
            return False
        self._reviews = decided
        self._merge_reviewed()
        return True

    def to_json(self) -> str:
        """All templates as a JSON list."""
        return json.dumps([asdict(template) for template in self.templates()], ensure_ascii=False, indent=1)

    def to_csv(self) -> str:
        """All templates as a table to review: fill in `name`, `ignored` (true) and `merge_into`."""
        out = io.StringIO()
        writer = csv.writer(out)  # ends lines with CR LF, and so puts either into quotes inside of a cell
        writer.writerow(
            (
                "id",
                "name",
                "ignored",
                "merge_into",
                "aliases",
                "count",
                "first_seen_ms",
                "last_seen_ms",
                "text",
                "example",
            )
        )
        for template in self.templates():
            review = self._reviews.get(template.id)
            writer.writerow(
                (
                    template.id,
                    cell(template.name),
                    "true" if template.ignored else "",
                    review.merge_into if review else "",
                    " ".join(template.aliases),
                    template.count,
                    template.first_seen_ms or "",
                    template.last_seen_ms or "",
                    cell(template.text),
                    cell(template.example),
                )
            )
        return out.getvalue()

    def state(self) -> dict[str, Any]:
        """All that is known, for `restore`."""
        return {
            "version": STATE_VERSION,
            "signatures": list(self._rows),
            "examples": list(self._examples),
            "count": self._count.copy(),
            "first_seen_ms": self._first_ms.copy(),
            "last_seen_ms": self._last_ms.copy(),
            "reviews": [asdict(review) for review in self._reviews.values()],
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> TemplateCatalog:
        """The catalogue whose state was taken; raises ValueError if it is not one."""
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"a catalogue of version {STATE_VERSION} expected, got {state.get('version')!r}")
        catalog = cls()
        nothing = np.zeros(len(state["signatures"]), np.int64)
        catalog.observe(state["signatures"], nothing, nothing)
        catalog._examples = list(state["examples"])
        catalog._count = np.array(state["count"], np.int64)
        catalog._first_ms = np.array(state["first_seen_ms"], np.int64)
        catalog._last_ms = np.array(state["last_seen_ms"], np.int64)
        catalog._reviews = {each["id"]: Review(**each) for each in state["reviews"]}
        catalog._merge_reviewed()
        return catalog

    @classmethod
    def joined(
        cls, states: Sequence[Mapping[str, Any]], examples: Mapping[str, str] | None = None
    ) -> TemplateCatalog:
        """The catalogue of all that several have seen, as if their lines had come to one, oldest first.

        states   : what `state` gave of each
        examples : a line by signature, where a catalogue has none itself
        """
        signatures = [signature for state in states for signature in state["signatures"]]
        known = [example for state in states for example in state["examples"]]
        told = dict(examples or {})
        told |= {signature: example for signature, example in zip(signatures, known, strict=True) if example}
        count, first_ms, last_ms = (
            np.concatenate([np.zeros(0, np.int64), *(np.asarray(state[key]) for state in states)])
            for key in ("count", "first_seen_ms", "last_seen_ms")
        )
        order = np.argsort(first_ms, kind="stable")
        ordered = [signatures[place] for place in order.tolist()]
        catalog = cls()
        catalog.observe(ordered, count[order], first_ms[order], told)
        catalog.observe(ordered, np.zeros(len(ordered), np.int64), last_ms[order])
        catalog.decide(Review(**each) for state in states for each in state["reviews"])
        return catalog

    def _told_apart(self, signatures: Sequence[str], new: Sequence[str] = ()) -> Sequence[str]:
        """The signatures, with `<*>` for those that there was no room for."""
        if WILDCARD not in self._rows and WILDCARD not in new:
            return signatures
        held = {*self._rows, *new}
        return [signature if signature in held else WILDCARD for signature in signatures]

    def _merge_reviewed(self) -> None:
        for review in self._reviews.values():
            both = [self._signature_of.get(each) for each in (review.id, review.merge_into)]
            if both[0] is not None and both[1] is not None:
                self._miner.join(both[0], both[1])

    def _template(self, members: Sequence[str]) -> Template:
        rows = np.fromiter(map(self._rows.__getitem__, members), np.int64, len(members))
        ids = tuple(map(template_id, members))
        reviews = [self._reviews[each] for each in ids if each in self._reviews]
        return Template(
            id=ids[0],
            text=common_text(members),
            count=int(self._count[rows].sum()),
            first_seen_ms=int(self._first_ms[rows].min()),
            last_seen_ms=int(self._last_ms[rows].max()),
            example=next(filter(None, (self._examples[row] for row in rows)), ""),
            aliases=ids[1:],
            name=next((review.name for review in reviews if review.name), ""),
            ignored=any(review.ignored for review in reviews),
        )


def common_text(signatures: Sequence[str]) -> str:
    """The words that signatures share, place by place; those that differ as one wildcard.

    Signatures that were merged by hand may have different lengths; then the oldest speaks for all.

    >>> common_text(["user ann left", "user bob left"])
    'user <*> left'
    """
    oldest = signatures[0].split()
    alike = [words for words in map(str.split, signatures) if len(words) == len(oldest)]
    return " ".join(
        word if {word} == set(place) else WILDCARD for word, *place in zip(oldest, *alike, strict=True)
    )
