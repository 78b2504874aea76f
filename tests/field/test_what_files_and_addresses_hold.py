"""Seen: a storage's error showed the password of the registry's address; an array's header that Python's
tokenizer cannot read, and a Sigma condition that is a mapping, ended in a trace; a client's secret was sent
to an `http://` address.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import traceback
import zipfile
from collections.abc import Callable
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.registry.addresses import passwords_in, without_credentials
from models.registry.errors import ModelError, ModelFormatError, ModelStorageError
from models.registry.manifest import Announcement, Manifest, Pointer, decode
from models.registry.model_files import pack_state, unpack_state
from models.registry.registry import Registry
from streams.config.models import Security
from streams.language.printable import LogFormatter
from streams.language.problems import Findings, show
from streams.language.yaml.documents import read_documents
from streams.sigma.rules import read_rules

# Passwords in addresses


@pytest.mark.parametrize(
    ("address", "shown", "passwords"),
    [
        ("ftp://ann:s3cret@host/models", "ftp://host/models", ("s3cret",)),
        ("ftp://ann:se%2Fcret@host/models", "ftp://host/models", ("se%2Fcret", "se/cret")),
        ("ftp://ann:se/cret@host/models", "ftp://host/models", ("se/cret",)),
        ("ftp://ann:se@cret@host:21/models", "ftp://host:21/models", ("se@cret",)),
        ("ftp://ann@host/models", "ftp://host/models", ()),
        ("ftp://:s3cret@host/models", "ftp://host/models", ("s3cret",)),
        ("filecache::ftp://ann:s3cret@host/models", "filecache::ftp://host/models", ("s3cret",)),
        ("s3://bucket/a@b", "s3://bucket/a@b", ()),
        ("http://host:8080/a@b", "http://host:8080/a@b", ()),
        ("http://[::1]:8080/a@b", "http://[::1]:8080/a@b", ()),
        ("models", "models", ()),
    ],
)
def test_an_address_is_shown_without_user_and_password(
    address: str, shown: str, passwords: tuple[str, ...]
) -> None:
    assert without_credentials(address) == shown
    assert passwords_in(address) == passwords
    assert all(password not in show(address) for password in passwords)


class Broken(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A storage that repeats, as some do, the address and the password in its error."""

    protocol = "broken"

    def __init__(self, username: str = "", password: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.told = f"530 no login for {username}:{password} at ftp://{username}:{password}@host/models"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "models"

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        return {"username": "ann", "password": "s3cret"}

    def _open(self, *_: Any, **__: Any) -> Any:
        raise PermissionError(self.told)

    ls = glob = exists = makedirs = _open


CALLS: dict[str, Callable[[Registry], object]] = {
    "names": lambda registry: registry.names(),
    "versions": lambda registry: registry.versions("traffic"),
    "load": lambda registry: registry.load("traffic", "000001-0123456789ab"),
    "pointer": lambda registry: registry.pointer("traffic", "champion"),
    "appoint": lambda registry: registry.appoint("traffic", "champion", None),
    "announcement": lambda registry: registry.announcement("traffic", "champion"),
    "prune": lambda registry: registry.prune("traffic", 1),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_error_of_a_registry_shows_the_password(call: Callable[[Registry], object]) -> None:
    fsspec.register_implementation("broken", Broken, clobber=True)
    registry = Registry("broken://ann:s3cret@host/models", "shop")
    with pytest.raises(ModelStorageError) as failure:
        call(registry)
    assert "530 no login" in str(failure.value)
    assert "s3cret" not in "".join(traceback.format_exception(failure.value))


@pytest.mark.parametrize("url", ["nonsense://ann:s3cret@host/models", "ftp://ann:s3cret@[host/models"])
def test_an_address_that_no_storage_takes_is_a_model_error_without_the_password(url: str) -> None:
    with pytest.raises(ModelError) as failure:
        Registry(url, "shop")
    assert "s3cret" not in "".join(traceback.format_exception(failure.value))


def test_a_log_leaves_out_passwords_of_messages_and_traces() -> None:
    address = "ftp://ann:s3cret@host/models"
    try:
        raise OSError(address)
    except OSError:
        error = sys.exc_info()
    record = logging.LogRecord("a", logging.ERROR, "", 0, "%s", (address,), error)
    written = LogFormatter("%(message)s").format(record)
    assert written.count("ftp://host/models") == 2
    assert "s3cret" not in written


# Bytes of a model


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


GOOD = pack_state({"a": np.arange(3.0), "b": [1, "x", None], "c": {1: (2.0,)}})
(ARRAY,) = set(members(GOOD)) - {"schema.json"}


def with_header(header: bytes, version: bytes = b"\x01\x00") -> bytes:
    """A good model whose array has this header."""
    size = len(header).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return zipped(members(GOOD) | {ARRAY: b"\x93NUMPY" + version + size + header + bytes(24)})


def raises_model_error_only(data: bytes) -> None:
    try:
        state = unpack_state(data)
    except ModelError:
        return
    assert isinstance(state, dict)


@pytest.mark.parametrize(
    "header",
    [b"{'descr': '<f8', 'fortran_order': False, 'shape': (3,", b"(((", b"\x00", b"'''", b"{", b"1_"],
)
def test_a_header_that_python_cannot_tokenize_is_a_format_error(header: bytes) -> None:
    with pytest.raises(ModelFormatError):
        unpack_state(with_header(header))


texts = st.text(st.characters(codec="latin-1"), max_size=80).map(lambda text: text.encode("latin-1"))
TOKENS = (
    *(b"{", b"}", b"(", b")", b"[", b"'descr'", b"'<f8'", b"'O'", b"'shape'", b":", b",", b"3", b"-1", b"\n"),
    *(b"'fortran_order'", b"False", b"'''", b"L", b"\\", b"#", b"\t", b"1e999", b"('a','<f8')", b"9" * 30),
)
tokens = st.lists(st.sampled_from(TOKENS), max_size=16).map(b" ".join)


@given(texts | tokens, st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00"]))
def test_whatever_an_array_begins_with_only_a_model_error_is_raised(header: bytes, version: bytes) -> None:
    raises_model_error_only(with_header(header, version))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_model_or_a_model_error(data: bytes) -> None:
    raises_model_error_only(data)


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_model_with_some_bytes_exchanged_is_a_model_or_a_model_error(edits: list[tuple[int, int]]) -> None:
    damaged = bytearray(GOOD)
    for at, byte in edits:
        damaged[at] = byte
    raises_model_error_only(bytes(damaged))


nodes = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=4)
    | st.sampled_from(["DictNode", "NdArrayNode", "JsonNode", "TypeNode", "builtins", "numpy", ARRAY]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["__loader__", "__module__", "__class__", "content", "key_types", "file", "type", "protocol"]
            ),
            inner,
            max_size=8,
        )
    ),
    max_leaves=12,
)


@given(nodes, st.lists(st.sampled_from(["content", "key_types", "a", "b", "c", "__class__", "protocol"])))
def test_a_schema_with_anything_in_it_is_a_model_or_a_model_error(node: Any, path: list[str]) -> None:
    schema = json.loads(members(GOOD)["schema.json"])
    place = schema
    for step in path:
        if isinstance(place, dict) and isinstance(place.get(step), dict):
            place = place[step]
    place[path[-1] if path else "content"] = node
    raises_model_error_only(zipped(members(GOOD) | {"schema.json": json.dumps(schema).encode()}))


@given(st.binary(max_size=60) | nodes.map(lambda node: json.dumps(node).encode()))
def test_what_is_no_manifest_pointer_or_announcement_is_a_model_error(data: bytes) -> None:
    for read in (
        Announcement.from_bytes,
        lambda bytes_: decode(bytes_, Manifest, "here"),
        lambda bytes_: decode(bytes_, Pointer, "here"),
    ):
        with pytest.raises(ModelError):
            read(data)


# Sigma files

RULE = "title: a\nlogsource: {category: webserver}\ndetection:\n  selection: {c-uri: /a}\n  condition: "


def problems_of(text: str) -> list[str]:
    findings = Findings()
    read_rules(read_documents("rule.yml", text, findings), findings)
    return [str(problem) for problem in findings.problems]


@pytest.mark.parametrize(
    "condition", ["{selection: 1}", "5", "[{a: b}]", "[[selection]]", "[]", "true", "''"]
)
def test_a_condition_that_is_no_text_is_a_message_at_its_line(condition: str) -> None:
    (problem,) = problems_of(RULE + condition)
    assert problem.startswith("rule.yml:"), problem


def test_a_condition_that_is_a_mapping_is_named() -> None:
    (problem,) = problems_of(RULE + "{selection: 1}")
    assert problem.startswith("rule.yml:5:")
    assert "expected a condition such as selection and not filter" in problem


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["selection", "1 of *"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["selection", "condition", "a|re", "type", "b|cidr"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "title",
                "id",
                "name",
                "logsource",
                "detection",
                "correlation",
                "level",
                "tags",
                "date",
                "status",
            ]
        ),
        values,
    )
)
def test_no_rule_ends_in_a_trace(rule: dict[str, Any]) -> None:
    problems_of(json.dumps(rule))


# Where secrets are sent


def security(endpoint: str) -> Security:
    return Security.model_validate(
        {
            "protocol": "SASL_SSL",
            "mechanism": "OAUTHBEARER",
            "client_id": "a",
            "client_secret": "b",
            "token_endpoint": endpoint,
        }
    )


@pytest.mark.parametrize(
    "endpoint",
    ["https://id.example.org/token", "http://127.0.0.1:8080/token", "http://localhost/t", "http://[::1]/t"],
)
def test_tokens_are_asked_for_by_https_or_on_this_machine(endpoint: str) -> None:
    assert security(endpoint).token_endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        *(
            "http://id.example.org/token",
            "http://localhost.example.org/t",
            "http://10.0.0.1/t",
            "ftp://localhost/t",
        ),
        *(
            "http://127.0.0.1@example.org/t",
            "https://ann:pw@example.org/t",
            "https:///token",
            "token",
            "http://[::1/t",
        ),
    ],
)
def test_a_secret_is_never_sent_in_the_clear(endpoint: str) -> None:
    with pytest.raises(ValueError, match="token_endpoint"):
        security(endpoint)
