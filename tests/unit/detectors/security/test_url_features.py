"""Requests as surprises: what is odd for a site, any text at all, and the same in every batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.security.request_tokens import TEXT_MAX, Texts, cut, request_units
from detectors.security.url_features import UrlFeatures
from models.arrays import Numbers

NAMES = ("ana", "luis", "maria", "jose", "elena", "pablo", "carmen", "ivan")


def shop(count: int, seed: int = 0) -> list[str]:
    """Requests of a shop: a page, a search and a login, each user and password new."""
    random = np.random.default_rng(seed)
    pages = [
        lambda: "GET /index",
        lambda: f"GET /search?q={random.choice(NAMES)}&page={random.integers(1, 4)}",
        lambda: f"POST /login?user={random.choice(NAMES)}{random.integers(10**6)}&mode=enter",
    ]
    return [pages[random.integers(3)]() for _ in range(count)]


@pytest.fixture(scope="module")
def site() -> UrlFeatures:
    return UrlFeatures.fit(shop(2000))[0]


def surprises(site: UrlFeatures, request: str) -> dict[str, float]:
    """Features of one request by name, those above 2 only."""
    row = site.transform([request])[0]
    return {name: value for name, value in zip(site.features, row.tolist(), strict=True) if value > 2}


def test_usual_requests_are_no_surprise(site: UrlFeatures) -> None:
    found = site.transform(shop(500, seed=1))
    assert found.shape == (500, len(site.features))
    assert np.quantile(found[:, : len(site.habits)].max(axis=1), 0.9) < 3


@pytest.mark.parametrize(
    ("request_", "aspect"),
    [
        ("GET /admin.php", "path"),
        ("PUT /index", "method"),
        ("GET /search?q=ana&page=1&debug=1", "name"),
        ("GET /search?q=ana", "names"),
        ("GET /search?q=ana&page=9000", "value"),
        ("GET /search?q=' or 1=1 --&page=1", "value characters"),
        ("GET /search?q=%27%20or%201%3D1&page=1", "value characters"),
        ("POST /login?user=" + "a" * 400 + "&mode=enter", "value length"),
        ("POST /login?user=12ana34&mode=enter", "value shape"),
        ("GET /nowhere?x=<script>", "any value characters"),
    ],
)
def test_what_is_odd_is_named(site: UrlFeatures, request_: str, aspect: str) -> None:
    assert aspect in surprises(site, request_)


def test_a_new_user_is_no_surprise(site: UrlFeatures) -> None:
    assert surprises(site, "POST /login?user=elena424242&mode=enter") == {}


def test_features_of_the_training_requests_are_as_if_they_were_unknown() -> None:
    requests = shop(2000)
    model, own = UrlFeatures.fit(requests)
    unknown = model.transform(shop(2000, seed=2))
    np.testing.assert_allclose(own.mean(axis=0), unknown.mean(axis=0), atol=0.15)


@settings(max_examples=60)
@given(
    requests=st.lists(st.text(max_size=60) | st.sampled_from(["", " ", "GET ?", "GET /a?&&=", "G /%zz?a=%f"]))
)
def test_any_text_gives_finite_features(requests: list[str]) -> None:
    model, own = UrlFeatures.fit(requests)
    for found in (own, model.transform(requests)):
        assert found.shape == (len(requests), len(model.features))
        assert np.isfinite(found).all()
        assert (found >= 0).all()


@settings(max_examples=30)
@given(requests=st.lists(st.sampled_from(shop(40, seed=5)) | st.text(max_size=30), min_size=2, max_size=20))
def test_a_request_is_judged_alike_in_any_batch(site: UrlFeatures, requests: list[str]) -> None:
    alone: Numbers = np.concatenate([site.transform([request]) for request in requests])
    np.testing.assert_allclose(site.transform(requests), alone, atol=1e-12)


def test_the_order_of_parameters_is_no_surprise(site: UrlFeatures) -> None:
    assert "names" not in surprises(site, "GET /search?page=2&q=ana")


def test_arrays_give_the_same_features_back(site: UrlFeatures) -> None:
    requests = [*shop(20, seed=6), "GET /x?y=<"]
    again = UrlFeatures.from_arrays(site.arrays())
    assert again.features == site.features
    np.testing.assert_array_equal(again.transform(requests), site.transform(requests))


def test_arrays_of_something_else_are_refused(site: UrlFeatures) -> None:
    with pytest.raises(ValueError, match="aspects of requests"):
        UrlFeatures.from_arrays({**site.arrays(), "colour/tokens": np.zeros(1)})
    with pytest.raises(ValueError, match="novelty consists"):
        UrlFeatures.from_arrays({})


def test_requests_are_cut_at_their_marks() -> None:
    methods, paths, names, values, owners = cut(["GET /a%20b?x=1&y=%3D=2&z", "POST", "GET /c?"])
    assert methods == [b"GET", b"POST", b"GET"]
    assert paths == [b"/a b", b"", b"/c"]
    assert names == [b"x", b"y", b"z"]
    assert values == [b"1", b"==2", b""]
    assert owners.tolist() == [0, 0, 0]


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=12))
def test_hashes_are_equal_where_texts_are(texts: list[bytes]) -> None:
    found = Texts.of(texts).hashes().tolist()
    for text, hashed in zip(texts, found, strict=True):
        assert [other == text for other in texts] == [other == hashed for other in found]


@given(st.lists(st.text("ab12-", max_size=9), min_size=1, max_size=8))
def test_shapes_are_equal_where_runs_are(texts: list[str]) -> None:
    def shape(text: str) -> str:
        classes = ["a" if c.isalpha() else "0" if c.isdigit() else c for c in text]
        return "".join(c for i, c in enumerate(classes) if i == 0 or c != classes[i - 1])

    found = Texts.of([text.encode() for text in texts]).shapes().tolist()
    for text, hashed in zip(texts, found, strict=True):
        assert [shape(other) == shape(text) for other in texts] == [other == hashed for other in found]


def test_endless_values_are_cut_but_their_length_counts() -> None:
    units = request_units(["GET /a?x=" + "a" * (3 * TEXT_MAX), "GET /a?x=" + "a" * (9 * TEXT_MAX)])
    assert len(units["value characters"].token) == 2 * (TEXT_MAX + 1)
    assert units["value length"].token[0] != units["value length"].token[1]
