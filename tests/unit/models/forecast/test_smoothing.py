"""The grid of filters: one pass equals a plain loop, stays bounded, and goes on after a fit."""

import numpy as np
import pytest

from models.forecast.combine import place_origins, what_followed
from models.forecast.smoothing import Grid, Smoothing, first_states, fit_smoothing, make_grid


def plain_loop(values, season, alpha, beta, phi, rho, gamma, level, profile, seen):
    """Return the forecast of the next step by the textbook recursion."""
    slope = error = 0.0
    profile = list(profile)
    for step, value in enumerate(values):
        slope *= phi
        level += slope
        rest = value - level - profile[step % season]
        surprise = rest - rho * error
        level += alpha * surprise
        slope += alpha * beta * surprise
        profile[step % season] += max(gamma, 0.7 / (step // season + seen + 1)) * surprise
        error = rest
    return level + phi * slope + rho * error + profile[len(values) % season]


@pytest.mark.parametrize("parameters", [(0.3, 0.1, 0.9, 0.5, 0.2), (0.05, 0.0, 0.0, 0.9, 0.001)])
def test_a_column_is_the_textbook_recursion(parameters):
    alpha, beta, phi, rho, gamma = parameters
    values = np.random.default_rng(0).normal(size=61).cumsum()
    one = np.ones(1)
    grid = Grid(alpha * one, beta * one, phi * one, rho * one, [gamma * one], [one])
    early = values[:14]
    level, profiles, passes = first_states(early, (7,))
    filters = Smoothing((7,), grid, early)
    filters.advance(values)
    expected = plain_loop(values, 7, alpha, beta, phi, rho, gamma, level, profiles[0], passes[0])
    assert filters.ahead(1)[0] == pytest.approx(expected)


def test_first_states_find_level_and_profile():
    shape = np.array([0.0, 3.0, -1.0, -2.0])
    level, profiles, passes = first_states(5.0 + np.tile(shape, 4), (4,))
    assert level == pytest.approx(5.0)
    assert passes == [4]
    np.testing.assert_allclose(profiles[0], shape, atol=0.6)


@pytest.mark.parametrize("seasons", [(), (24,), (24, 168), (12,)])
def test_no_column_answers_noise_with_growing_swings(seasons):
    filters = Smoothing(seasons, make_grid(len(seasons)), np.zeros(3))
    filters.advance(np.random.default_rng(0).normal(size=2000))
    assert np.abs(filters.columns_ahead(48)).max() < 50


def test_in_pieces_is_at_once():
    values = np.random.default_rng(1).normal(size=300)
    at_once, pieces = (Smoothing((24,), make_grid(1), np.zeros(3)) for _ in range(2))
    at_once.advance(values)
    for part in np.split(values, [1, 24, 100, 101]):
        pieces.advance(part)
    np.testing.assert_array_equal(at_once.columns_ahead(30), pieces.columns_ahead(30))


def test_the_best_columns_win():
    values = 10 + np.tile(np.arange(24.0), 30)
    origins = place_origins(len(values), 24, 240)
    filters, backtest = fit_smoothing(values, what_followed(values, origins[:-1], 24), origins, 24, (24,))
    np.testing.assert_allclose(backtest[-1], 10 + np.arange(24.0), atol=0.2)
    np.testing.assert_allclose(filters.ahead(24), backtest[-1], atol=0.2)
    assert filters.weights.sum() == pytest.approx(1.0)
