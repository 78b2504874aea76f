"""Sigma rules and their correlations, as conditions and rollups of a source."""
