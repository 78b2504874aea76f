"""Templates: what is merged, in any order, and what becomes of ids, reviews and restarts."""

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.logs import catalog as drain_catalog
from models.logs.catalog import TemplateCatalog, common_text, template_id
from models.logs.drain import VALUES_MIN, WORD_COUNT_MAX, TemplateMiner
from models.logs.reviews import Review, ReviewError, read_reviews

USERS = ["ann", "bob", "cid", "dot", "eve", "fay", "gus", "hal"]


def groups(signatures, miner=None):
    """The template of each signature as the set of signatures that it holds."""
    miner = TemplateMiner() if miner is None else miner  # an empty one is false
    miner.learn(signatures)
    rows = miner.templates(signatures)
    return {
        key: frozenset(other for other, row in zip(signatures, rows, strict=True) if row == mine)
        for key, mine in zip(signatures, rows, strict=True)
    }


def test_many_words_at_one_place_are_a_parameter():
    lines = [f"Failed password for {user} from <*>" for user in USERS[:VALUES_MIN]]
    assert len(set(groups(lines[:-1]).values())) == VALUES_MIN - 1
    assert len(set(groups(lines).values())) == 1


def test_words_that_tell_events_apart_are_none():
    lines = [f"machine <*> {word} by the host" for word in ("started", "paused", "resumed", "stopped")]
    assert len(set(groups(lines).values())) == 4


def test_a_masked_word_is_a_parameter_wherever_it_varies():
    lines = [
        "Invalid login of ann from <*>",
        "Invalid login of <*> from <*>",
        "Invalid login of bob from <*>",
    ]
    assert len(set(groups(lines).values())) == 1
    assert len(set(groups(lines[::2]).values())) == 2


def test_a_message_without_a_word_in_common_is_not_merged():
    assert len(set(groups([f"{user} <*>" for user in USERS]).values())) == len(USERS)


def test_two_parameters_are_found_one_after_the_other():
    lines = [f"copy of {user} to {host} ended" for user in USERS for host in USERS]
    assert len(set(groups(lines).values())) == 1


def test_messages_are_told_by_their_first_words():
    long = " ".join(["word"] * WORD_COUNT_MAX)
    assert len(set(groups([f"{long} and this", f"{long} or that, at length"]).values())) == 1


def test_keys_before_a_mask_are_no_parameter():
    assert len(set(groups(["set total=<*> now", "set speed=<*> now"]).values())) == 2
    assert len(set(groups(["set disk<*> up now", "set cpu<*> up now"]).values())) == 1


SIGNATURES = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "<*>", "x<*>"]), min_size=1, max_size=4).map(
        " ".join
    ),
    unique=True,
    max_size=25,
)


@given(SIGNATURES, st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_what_is_together_does_not_depend_on_the_order(signatures, random):
    shuffled = list(signatures)
    random.shuffle(shuffled)
    miner = TemplateMiner(values_min=3, values_min_of_short=4)
    one_by_one = TemplateMiner(values_min=3, values_min_of_short=4)
    for signature in shuffled:
        one_by_one.learn([signature])
    assert groups(signatures, miner) == groups(signatures, one_by_one)


@given(SIGNATURES)
@settings(max_examples=100)
def test_templates_only_merge(signatures):
    miner = TemplateMiner(values_min=3, values_min_of_short=4)
    before = {}
    for count in range(1, len(signatures) + 1):
        after = groups(signatures[:count], miner)
        assert all(members <= after[signature] for signature, members in before.items())
        before = after


@pytest.mark.parametrize("settings", [{"values_min": 1}, {"values_min": 9}])
def test_refuses_thresholds_that_contradict_each_other(settings):
    with pytest.raises(ValueError, match="values_min"):
        TemplateMiner(**settings)


def observed(users=USERS, catalog=None, time_ms=1_000):
    catalog = TemplateCatalog() if catalog is None else catalog
    signatures = [f"login of {user} denied" for user in users]
    examples = {signature: f"{signature} 17" for signature in signatures}
    for number, signature in enumerate(signatures):
        catalog.observe([signature], np.array([number + 1]), np.array([time_ms + number]), examples)
    return catalog


def test_a_template_keeps_the_id_of_its_oldest_signature_and_the_others_as_aliases():
    catalog = observed(USERS[:3])
    assert len(catalog.templates()) == 3
    observed(USERS[3:], catalog, 2_000)
    (template,) = catalog.templates()
    assert template.id == template_id("login of ann denied") == catalog.id_of("login of hal denied")
    assert template.aliases == tuple(template_id(f"login of {user} denied") for user in USERS[1:])
    assert template.text == "login of <*> denied"
    assert (template.count, template.first_seen_ms, template.last_seen_ms) == (6 + 15, 1_000, 2_004)
    assert template.example == "login of ann denied 17"


@given(st.integers(0, len(USERS)), st.permutations(USERS))
@settings(max_examples=50)
def test_a_restart_anywhere_changes_nothing(cut, users):
    whole = observed(users)
    restarted = TemplateCatalog.restored(observed(users[:cut]).state())
    observed(users[cut:], restarted, 1_000 + cut)
    assert [t.id for t in restarted.templates()] == [t.id for t in whole.templates()]
    assert TemplateCatalog.restored(restarted.state()).to_json() == restarted.to_json()


def test_reviews_name_ignore_and_merge_and_survive_a_restart():
    catalog = TemplateCatalog()
    catalog.observe(
        ["disk full", "disk almost full", "all is well"], np.array([5, 1, 9]), np.ones(3, np.int64)
    )
    table = list(csv.DictReader(io.StringIO(catalog.to_csv())))
    assert [row["text"] for row in table] == ["all is well", "disk full", "disk almost full"]
    table[0]["ignored"], table[1]["name"], table[2]["merge_into"] = "true", "Disk", table[1]["id"]
    out = io.StringIO()
    writer = csv.DictWriter(out, table[0].keys())
    writer.writeheader()
    writer.writerows(table)
    catalog.review(read_reviews(out.getvalue()))
    for each in (catalog, TemplateCatalog.restored(catalog.state())):
        well, disk = each.templates()
        assert (well.text, well.ignored, disk.name, disk.count) == ("all is well", True, "Disk", 6)
        assert each.ignored() == {"all is well"}
        assert disk.aliases == (template_id("disk almost full"),)
    catalog.review([Review(well.id, ignored=False)])
    assert catalog.ignored() == frozenset()


def test_reviews_of_what_does_not_exist_are_refused():
    with pytest.raises(ValueError, match="'t123'"):
        TemplateCatalog().review([Review("t123")])
    with pytest.raises(ValueError, match="column 'id'"):
        read_reviews("name\nx\n")
    with pytest.raises(ValueError, match="version"):
        TemplateCatalog.restored({"version": 0})


@pytest.mark.parametrize(
    ("text", "line", "expected", "found"),
    [
        ("name\nx\n", 1, "a column 'id'", "name"),
        ("id,ignored\ntbd0734d8f8,maybe\n", 2, "ignored to be true, false or blank", "'maybe'"),
        ("id,name\ntbd0734d8f8,\nt1,a\n", 3, "an id of an exported template, such as tbd0734d8f8", "'t1'"),
        ("id,name\ntbd0734d8f8,a\ntbd0734d8f8,b\n", 3, "one decision about tbd0734d8f8", "another"),
        ("id,merge_into\ntbd0734d8f8,tbd0734d8f8\n", 2, "another template for", "tbd0734d8f8 itself"),
        ("[\n {}\n,\n\n 7]", 2, "an id of an exported template", "''"),
        ('[\n {"id": "tbd0734d8f8"}\n,\n\n 7]', 5, "an object with an id", "7"),
        ('[\n {"id": ]', 2, "a JSON list", "a mistake"),
    ],
)
def test_mistakes_in_reviews_are_told_with_their_line(text, line, expected, found):
    with pytest.raises(ReviewError) as told:
        read_reviews(text)
    assert told.value.line == line
    assert told.value.expected.startswith(expected)
    assert told.value.found.startswith(found)


def test_an_export_as_json_is_a_review_and_holds_for_aliases():
    catalog = observed(USERS)
    (login,) = catalog.templates()
    assert login.aliases
    rows = json.loads(catalog.to_json())
    assert read_reviews(json.dumps(rows)) == []
    rows[0]["ignored"] = True
    told = read_reviews(json.dumps(rows, indent=2))
    assert {review.id for review in told} == {login.id, *login.aliases}
    other = observed(USERS[3:4])
    assert other.decide(told)
    assert [template.ignored for template in other.templates()] == [True]


def test_a_whole_review_replaces_another_save_that_merges_stay():
    full, almost = template_id("disk full"), template_id("disk almost full")
    catalog = TemplateCatalog()
    reviews = [Review(full, name="Disk"), Review(almost, ignored=True, merge_into=full)]
    assert catalog.decide(reviews)
    assert not catalog.decide(reviews)
    catalog = TemplateCatalog.restored(catalog.state())
    catalog.observe(["disk full", "disk almost full"], np.array([5, 1]), np.ones(2, np.int64))
    (disk,) = catalog.templates()
    assert (disk.name, disk.count, disk.ignored) == ("Disk", 6, True)
    assert catalog.decide([])
    (disk,) = catalog.templates()
    assert (disk.name, disk.count, disk.ignored) == ("", 6, False)


@given(st.lists(st.sampled_from([0, 1, 2]), min_size=len(USERS), max_size=len(USERS)))
@settings(max_examples=50)
def test_catalogues_joined_are_one_that_saw_all(parts):
    """However the signatures are spread over catalogues, as they are over partitions."""
    catalogs = [TemplateCatalog(), TemplateCatalog(), TemplateCatalog()]
    whole = TemplateCatalog()
    for number, (part, user) in enumerate(zip(parts, USERS, strict=True)):
        for each in (whole, catalogs[part]):
            observed([user], each, 1_000 + number)
    joined = TemplateCatalog.joined([each.state() for each in catalogs])
    assert joined.to_json() == whole.to_json()
    assert TemplateCatalog.joined([]).templates() == []


def test_signatures_beyond_the_limit_are_one_template(monkeypatch):
    monkeypatch.setattr(drain_catalog, "SIGNATURE_COUNT_MAX", 2)
    catalog = TemplateCatalog()
    catalog.observe(
        ["one thing", "another thing entirely", "third", "fourth"], np.array([1, 2, 3, 4]), np.arange(4)
    )
    catalog.observe(["fifth", "one thing"], np.array([5, 6]), np.arange(2))
    assert {t.text: t.count for t in catalog.templates()} == {
        "one thing": 7,
        "another thing entirely": 2,
        "<*>": 12,
    }
    assert catalog.templates_of(["third"]) == catalog.templates_of(["sixth"])


def test_common_text_of_different_lengths_is_that_of_the_oldest():
    assert common_text(["a b c", "a x c", "a b"]) == "a <*> c"


def test_groups_real_logs_as_people_do():
    data = os.environ.get("STREAMGAUGE_DATA")
    if not data or not (Path(data) / "loghub" / "OpenSSH").is_dir():
        pytest.skip("STREAMGAUGE_DATA names no folder with loghub/OpenSSH")
    from benchmarks.logs import grouping_accuracy, parse, read_system

    lines, true = read_system(Path(data) / "loghub" / "OpenSSH")
    assert grouping_accuracy(parse(lines), true) > 0.97
    assert grouping_accuracy([0, 0, 1, 2], ["a", "a", "b", "b"]) == 0.5
