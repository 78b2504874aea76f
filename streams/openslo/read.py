"""OpenSLO objects from files: several documents, lists, and references between objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from streams.language.problems import Findings, Note, nearest, one_of
from streams.language.yaml.documents import Document, Path, read_documents
from streams.language.yaml.validation import validate_leniently
from streams.openslo.objects import API_VERSION, KINDS, AnyObject

T_co = TypeVar("T_co", covariant=True, bound=AnyObject)
T = TypeVar("T", bound=AnyObject)


@dataclass(frozen=True, slots=True)
class Item(Generic[T_co]):
    """An object and where it stands.

    path : of the object in its document; () unless the document is a list
    """

    object: T_co
    document: Document
    path: Path

    @property
    def name(self) -> str:
        return self.object.metadata.name

    def note(self, path: Path, text: str) -> Note:
        """A note about a place inside the object."""
        return self.document.note((*self.path, *path), text)


@dataclass(slots=True)
class Library:
    """All objects of some files, by kind and name.

    broken : those of which nothing could be read, so that references to them are not mistakes as well
    """

    items: dict[tuple[str, str], Item[AnyObject]] = field(default_factory=dict)
    broken: set[tuple[str, str]] = field(default_factory=set)

    def of(self, kind: type[T]) -> list[Item[T]]:
        """Objects of one kind, in the order in which they were read."""
        return [
            Item(item.object, item.document, item.path)
            for item in self.items.values()
            if isinstance(item.object, kind)
        ]

    def find(
        self, kind: type[T], name: str, document: Document, path: Path, findings: Findings
    ) -> Item[T] | None:
        """The object that a reference at `path` names; a problem if there is none."""
        items = {item.name: item for item in self.of(kind)}
        word = next(word for word, model in KINDS.items() if model is kind)
        if name not in items and (word, name) not in self.broken:
            expected = f"the name of an {word}"
            findings.problems.append(
                document.problem(path, expected, document.show(path), nearest(name, items))
            )
        return items.get(name)


def read_objects(file: str, text: str, library: Library, findings: Findings) -> None:
    """Add a file's objects to `library`; mistakes go to `findings`."""
    before = len(findings.problems)
    documents = [document for document in read_documents(file, text, findings) if document.value is not None]
    if not documents and len(findings.problems) == before:
        findings.notes.append(Note(file, 1, "", "the file holds no objects"))
    for document in documents:
        read_document(document, library, findings)


def read_document(document: Document, library: Library, findings: Findings) -> None:
    """Add a document's objects, of which a list may hold several."""
    paths: Iterable[Path] = [()]
    if isinstance(document.value, list):
        paths = [(index,) for index in range(len(document.value))]
    for path in paths:
        _read_object(document, path, library, findings)


def _read_object(document: Document, path: Path, library: Library, findings: Findings) -> None:
    value = document.get(path)
    if not isinstance(value, dict):
        findings.problems.append(document.problem(path, "an OpenSLO object", document.show(path)))
        return
    version, kind = value.get("apiVersion"), value.get("kind")
    if version != API_VERSION:
        place = (*path, "apiVersion")
        findings.problems.append(
            document.problem(place, API_VERSION, document.show(place), "other versions are not read")
        )
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        place = (*path, "kind")
        findings.problems.append(
            document.problem(place, one_of(KINDS), document.show(place), nearest(str(kind), KINDS))
        )
    if model is None or version != API_VERSION:
        return
    parsed = validate_leniently(model, document, path, findings)
    if parsed is None:
        library.broken.add((str(kind), str(document.get((*path, "metadata", "name")))))
        return
    key = (parsed.kind, parsed.metadata.name)
    if key in library.items:
        first = library.items[key]
        place = (*path, "metadata", "name")
        findings.problems.append(
            document.problem(
                place,
                f"each {parsed.kind} once",
                f"{document.show(place)} again",
                f"the first is at {first.document.file}:{first.document.line(first.path)}",
            )
        )
        return
    library.items[key] = Item(parsed, document, path)
