"""Partials → rings: rolling windows of all series of a partition at once."""
