"""Log templates on the stream: what alarms, what does not, and what a restart keeps."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from detectors.api.detector import INFO, TICKET, Adopting, Calibrated, Detector, Panel
from detectors.calibration.tail_excess import TailExcess
from detectors.logs.detector import LogTemplateDetector
from detectors.logs.rates import log_silence, surge_tail
from models.logs.catalog import template_id
from models.logs.reviews import Review
from streams.judge.state_codec import decode_state, encode_state

MINUTE, HOUR = 60_000, 3_600_000
START = 1_700_006_400_000
FEATURES = ("count", "errors", "values")
TEXTS = ("request <*> served", "cache <*> was refreshed", "retry of <*>", "disk <*> is full")
SERIES = tuple(("shop", text) for text in TEXTS)


def panel(counts, errors=None, values=None, series=SERIES, start=START):
    counts = np.asarray(counts, float)
    missing = np.full(counts.shape, np.nan)
    parts = [counts, missing if errors is None else errors, missing if values is None else values]
    times = start + MINUTE * np.arange(1, len(counts) + 1)
    return Panel(times, series, FEATURES, np.stack(parts, axis=2).astype(float))


def ordinary(steps=450, seed=0, rates=(50.0, 2.0, 0.5, 0.0)):
    return np.random.default_rng(seed).poisson(rates, (steps, 4)).astype(float)


def alarms(verdicts):
    """Where alarms begin: (step, series, kind)."""
    begins = verdicts.alarm.copy()
    begins[1:] &= ~verdicts.alarm[:-1]
    rows, columns = np.nonzero(begins)
    return [
        (int(row), int(column), verdicts.kind[row, column]) for row, column in zip(rows, columns, strict=True)
    ]


def detector():
    return LogTemplateDetector(warm_up_hours=1)


def test_ordinary_lines_do_not_alarm_and_nothing_does_while_it_warms_up():
    verdicts = detector().update(panel(ordinary()))
    assert alarms(verdicts) == []
    assert isinstance(detector(), Detector)
    counts = ordinary()
    counts[40, 3] = 5
    counts[50, 1] = 500
    assert alarms(detector().update(panel(counts))) == []


def test_a_new_template_alarms_once():
    counts = ordinary()
    counts[300:, 3] = 4
    verdicts = detector().update(panel(counts, errors=counts * [0, 0, 0, 1]))
    assert alarms(verdicts)[0] == (300, 3, "new template")
    assert (verdicts.severity[300, 3], verdicts.direction[300, 3]) == (TICKET, 1)
    assert [each for each in alarms(verdicts) if each[2] == "new template"] == [(300, 3, "new template")]
    silent = detector().update(panel(counts))
    assert silent.severity[300, 3] == INFO


def test_news_beyond_the_budget_are_reported_without_alarm():
    texts = [f"{word} broke down at <*>" for word in ("pump", "fan")] + ["all lost", "nothing works"]
    series = (*SERIES, *(("shop", text) for text in texts))
    counts = np.hstack([ordinary(), np.zeros((450, 4))])
    counts[400:, 4:] = 3
    verdicts = detector().update(panel(counts, series=series))
    assert (verdicts.kind[400, 4:] == "new template").all()
    assert verdicts.alarm[400].sum() == 1


def test_a_surge_alarms_at_its_start_and_lasts():
    counts = ordinary()
    counts[400:420, 1] = 40
    verdicts = detector().update(panel(counts))
    assert alarms(verdicts) == [(400, 1, "surge")]
    assert (verdicts.kind[400:420, 1] == "surge").all()
    assert verdicts.alarm[400:420, 1].all()
    assert not verdicts.kind[430:].any()
    assert verdicts.contributions[400, 1, 0] > 10
    assert 1 < verdicts.expected[400, 1, 0] < 3
    assert verdicts.score[400, 1] > 0.99999


def test_alarms_are_the_tails_below_that_of_alarms():
    counts = ordinary()
    counts[380:400, 0] = 5000  # many lines
    counts[420, 2] = 9  # odd, but few
    judge = detector()
    verdicts = judge.update(panel(counts))
    assert isinstance(judge, Calibrated)
    assert judge.alarm_tail == pytest.approx(0.1 / (7 * 1440))
    assert verdicts.alarm.any()
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(verdicts.alarm, verdicts.tail < judge.alarm_tail)


def test_a_template_that_falls_silent_alarms_once_and_not_if_all_is_silent():
    counts = ordinary()
    counts[400:, 1] = 0
    verdicts = detector().update(panel(counts))
    ((row, column, kind),) = alarms(verdicts)
    assert (column, kind) == (1, "vanished template")
    assert 400 < row < 440
    assert verdicts.direction[row, 1] == -1
    for nothing in (np.nan, 0.0):
        counts[400:] = nothing
        assert alarms(detector().update(panel(counts))) == []


def test_lines_that_come_at_intervals_are_not_taken_for_silent():
    counts = ordinary(600)
    counts[:, 1] = 0
    counts[::60, 1] = 20
    assert [each for each in alarms(detector().update(panel(counts))) if each[2] == "vanished template"] == []


def test_a_worse_mix_of_severities_alarms():
    counts = ordinary()
    errors = np.random.default_rng(1).binomial(counts.astype(int), 0.01).astype(float)
    errors[400:, 0] = 12
    verdicts = detector().update(panel(counts, errors))
    assert alarms(verdicts) == [(400, 0, "severity mix")]
    assert verdicts.contributions[400, 0, 1] > 0


def test_a_new_value_of_a_constant_parameter_alarms():
    counts = ordinary()
    values = np.ones_like(counts)
    values[400:, 0] = 2
    verdicts = detector().update(panel(counts, values=values))
    assert alarms(verdicts) == [(400, 0, "new parameter value")]
    assert verdicts.expected[400, 0, 2] == 1
    values[:, 0] = 1_000 + np.arange(450)
    assert alarms(detector().update(panel(counts, values=values))) == []


def test_signatures_of_one_template_are_judged_together():
    users = ("ann", "bob", "cid", "dot", "eve", "fay", "gus", "hal")
    series = tuple(("shop", f"login of {user} denied") for user in users)
    counts = np.random.default_rng(0).poisson(3.0, (450, 8)).astype(float)
    counts[400] = [40, 30, 30, 30, 30, 30, 30, 30]
    judge = detector()
    verdicts = judge.update(panel(counts, series=series))
    assert alarms(verdicts) == [(400, 0, "surge")]
    (template,) = judge.catalog.templates()
    assert (template.text, template.count) == ("login of <*> denied", int(counts.sum()))
    assert template.id == template_id("login of ann denied")
    assert 20 < verdicts.expected[400, :, 0].sum() < 30


def test_services_are_judged_apart():
    series = (("shop", TEXTS[0]), ("bank", TEXTS[0]), ("bank", TEXTS[3]), ("bank", TEXTS[1]))
    counts = ordinary()
    counts[:300, 1:] = np.nan
    counts[350:, 2] = 1
    verdicts = detector().update(panel(counts, series=series))
    assert alarms(verdicts) == []
    assert len(detector().update(panel(counts[:, :1], series=series[:1])).tail) == 450


def test_ignored_templates_do_not_alarm_and_merged_ones_are_one():
    counts = ordinary()
    counts[400:420, 1] = 40
    judge = detector()
    judge.update(panel(counts[:300]))
    judge.review([Review(template_id(TEXTS[1]), ignored=True)])
    later = panel(counts[300:], start=START + 300 * MINUTE)
    assert alarms(judge.score(later)) == []
    judge.review([Review(template_id(TEXTS[1]), ignored=False, merge_into=template_id(TEXTS[0]))])
    judge.update(later)
    assert len(judge.catalog.templates()) == 2


def adopting():
    """A detector of one service, what it knows, and a detector of that service and another."""
    everybody = SERIES + tuple(("pay", text) for text in TEXTS)
    counts = np.hstack([ordinary(300, seed=1), ordinary(300, seed=2, rates=(30.0, 5.0, 1.0, 0.0))])
    model = detector()
    model.update(panel(counts, series=everybody))
    judge = detector()
    judge.update(panel(ordinary(70, seed=3), series=SERIES, start=START + 300 * MINUTE))
    return judge, model, everybody


def test_a_model_lets_new_series_be_judged_at_once():
    judge, model, everybody = adopting()
    assert isinstance(judge, Adopting)
    judge.adopt(model.state())
    counts = np.hstack([ordinary(10, seed=4), ordinary(10, seed=5, rates=(30.0, 5.0, 1.0, 0.0))])
    counts[5:, 5] = 80
    verdicts = judge.update(panel(counts, series=everybody, start=START + 370 * MINUTE))
    assert np.isfinite(verdicts.tail[:, 4:7]).all()
    assert alarms(verdicts) == [(5, 5, "surge")]
    assert {each.text for each in model.catalog.templates()} == {
        each.text for each in judge.catalog.templates()
    }


def test_what_is_known_of_own_series_stays_and_survives_a_restart():
    judge, model, everybody = adopting()
    before = judge.state()["memory"]
    judge.adopt(decode_state(encode_state(model.state())))
    after = judge.state()["memory"]
    for part in ("members", "rates", "episodes", "services", "mixes"):
        for name, column in before[part].items():
            np.testing.assert_array_equal(after[part][name][: len(column)], column, err_msg=name)
    assert after["slots"]["names"][: len(before["slots"]["names"])] == before["slots"]["names"]
    other = detector()
    other.restore(decode_state(encode_state(judge.state())))
    rest = panel(np.hstack([ordinary(20)] * 2), series=everybody, start=START + 370 * MINUTE)
    same(other.update(rest), judge.update(rest))


def test_a_foreign_model_is_refused():
    judge, model, _ = adopting()
    with pytest.raises(ValueError, match="a state of logs"):
        judge.adopt({**model.state(), "detector": "traffic"})
    assert len(judge.catalog) == 3


def test_reviews_come_along_and_own_ones_stay():
    judge, model, _ = adopting()
    served, full = template_id(TEXTS[0]), template_id(TEXTS[3])
    model.update(panel([[0, 0, 0, 3]], start=START + 300 * MINUTE))
    model.review([Review(full, name="disk", ignored=True), Review(served, name="theirs")])
    judge.review([Review(served, name="ours")])
    judge.adopt(model.state())
    named = {each.id: (each.name, each.ignored) for each in judge.catalog.templates()}
    assert named[full] == ("disk", True)
    assert named[served] == ("ours", False)


def same(first, second):
    for name in first.__slots__:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def eventful():
    counts = ordinary(120)
    counts[80:, 3] = 1
    counts[90:100, 1] = 40
    counts[105:, 0] = 0
    return panel(counts, errors=counts * 0.1, values=np.ones_like(counts))


@given(st.integers(1, 119))
@settings(max_examples=8)
def test_a_restart_anywhere_changes_nothing(cut):
    whole = eventful()
    expected = detector().update(whole)
    before, after = detector(), detector()
    first = before.update(whole.rows(0, cut))
    after.restore(decode_state(encode_state(before.state())))
    same(after.score(whole.rows(cut, 120)), after.update(whole.rows(cut, 120)))
    after.restore(before.state())
    second = after.update(whole.rows(cut, 120))
    same(type(first).joined([first, second]), expected)
    assert sorted(template.text for template in after.catalog.templates()) == sorted(TEXTS)


def test_what_comes_later_changes_no_verdict():
    whole = eventful()
    changed = whole.values.copy()
    changed[85:] *= 7
    first, second = detector().update(whole), detector().update(replace(whole, values=changed))
    np.testing.assert_array_equal(first.tail[:85], second.tail[:85])
    np.testing.assert_array_equal(first.kind[:85], second.kind[:85])


@given(st.permutations(range(4)))
@settings(max_examples=5)
def test_the_order_of_series_does_not_matter(order):
    whole = eventful()
    moved = replace(whole, series=tuple(whole.series[each] for each in order), values=whole.values[:, order])
    first, second = detector().update(whole), detector().update(moved)
    np.testing.assert_array_equal(first.tail[:, order], second.tail)
    np.testing.assert_array_equal(first.kind[:, order], second.kind)


def test_fit_forgets_and_odd_panels_are_refused_or_harmless():
    judge = detector()
    judge.update(eventful())
    judge.fit(panel(ordinary(10)))
    assert len(judge.catalog) == 3
    assert len(judge.update(panel(np.zeros((0, 4)))).tail) == 0
    assert not judge.update(panel(np.full((5, 4), np.nan), start=START + HOUR)).alarm.any()
    assert not judge.update(panel(np.full((5, 4), np.inf), start=START + 2 * HOUR)).alarm.any()
    with pytest.raises(ValueError, match="no feature counts lines: one of count"):
        judge.update(Panel(np.array([1]), (("a",),), ("x", "y"), np.ones((1, 1, 2))))
    with pytest.raises(ValueError, match="state of logs"):
        judge.restore({"detector": "traffic", "version": 1})
    with pytest.raises(ValueError, match="false_alarms"):
        LogTemplateDetector(false_alarms_per_series_per_week=0)
    with pytest.raises(ValueError, match="ratio_min"):
        LogTemplateDetector(ratio_min=0.5)


@given(st.integers(1, 300), st.floats(0.01, 200), st.one_of(st.just(1.0), st.floats(1.01, 50)))
@settings(max_examples=50)
def test_tails_of_counts_are_those_of_scipy(count, mean, dispersion):
    if dispersion == 1.0:
        expected, nothing = stats.poisson.sf(count - 1, mean), stats.poisson.logpmf(0, mean)
    else:
        law = stats.nbinom(mean / (dispersion - 1.0), 1.0 / dispersion)
        expected, nothing = law.sf(count - 1), law.logpmf(0)
    arrays = [np.array([value], float) for value in (count, mean, dispersion)]
    np.testing.assert_allclose(surge_tail(*arrays), max(expected, 1e-300), rtol=1e-6)
    np.testing.assert_allclose(log_silence(*arrays[1:]), nothing, rtol=1e-6)


def test_tails_are_corrected_by_what_was_seen():
    random = np.random.default_rng(0)
    excess = TailExcess()
    for _ in range(20):
        excess.learn(random.random(10_000) ** 2, 1.0)  # small tails come far too often
    assert excess.corrected(np.array([1e-8]))[0] == pytest.approx(1e-4, rel=0.6)
    right = TailExcess()
    for _ in range(20):
        right.learn(random.random(10_000), 1.0)
    np.testing.assert_allclose(right.corrected(np.array([0.5, 1e-5])), [0.5, 1e-5], rtol=0.5)
    assert np.isnan(right.corrected(np.array([np.nan]))).all()


def test_false_alarms_come_at_most_at_the_configured_rate():
    random = np.random.default_rng(3)
    words = ("alpha", "bravo", "delta", "gamma", "kappa", "sigma")
    series = tuple((a, f"{b} of <*> {c}") for a in words for b, c in zip(words, reversed(words), strict=True))
    days = 3
    hours = np.arange(days * 1_440) / 60.0
    season = np.exp(0.5 * np.sin(hours * np.pi / 12.0))[:, None]
    rates = np.exp(random.uniform(np.log(0.02), np.log(50.0), len(series)))
    shape = np.exp(random.uniform(np.log(0.5), np.log(50.0), len(series)))
    counts = random.poisson(season * rates * random.gamma(shape, 1 / shape, (len(hours), len(series))))
    times = START + MINUTE * np.arange(1, len(counts) + 1)
    verdicts = LogTemplateDetector(false_alarms_per_series_per_week=2.0).update(
        Panel(times, series, ("count",), counts[:, :, None].astype(float))
    )
    per_week = len(alarms(verdicts)) / len(series) / ((days - 1) / 7)
    assert 0.2 < per_week < 3.0


def test_features_are_found_by_their_usual_names():
    counts = ordinary(3)
    times = START + MINUTE * np.arange(1, 4)
    for name in ("total", "count", "whatever"):
        judge = detector()
        judge.update(Panel(times, SERIES, (name,), counts[:, :, None]))
        assert sum(template.count for template in judge.catalog.templates()) == counts.sum()


def test_series_without_labels_are_one_template_and_labels_that_are_missing_are_refused():
    times = START + MINUTE * np.arange(1, 301)
    values = np.random.default_rng(0).poisson(5.0, 300).astype(float)
    values[250:] = 80
    verdicts = detector().update(Panel.of_series(times, values))
    assert alarms(verdicts) == [(250, 0, "surge")]
    with pytest.raises(ValueError, match="signature_label=2"):
        LogTemplateDetector(signature_label=2).update(panel(ordinary(5)))


@given(
    st.lists(
        st.sampled_from([np.nan, np.inf, -np.inf, -5.0, 0.0, 0.5, 3.0, 1e9, 1e300]), min_size=1, max_size=40
    ),
    st.integers(0, 3),
)
@settings(max_examples=25)
def test_no_numbers_break_it(values, warm_up_hours):
    times = START + MINUTE * np.arange(1, 81)
    repeated = np.resize(np.array(values), (80, 2, 1))
    judge = LogTemplateDetector(warm_up_hours=warm_up_hours)
    with np.errstate(all="raise", under="ignore"):
        verdicts = judge.update(Panel(times, (("a", "x <*>"), ("a", "y <*>")), ("count",), repeated))
    assert not (verdicts.tail < 0).any()
    assert not (verdicts.tail > 1).any()
    assert np.isfinite(verdicts.contributions).all()
