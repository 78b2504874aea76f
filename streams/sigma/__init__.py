"""Sigma rules and correlations in, conditions and rollups of a source out.

May import `config`, `derive` and below.
"""
