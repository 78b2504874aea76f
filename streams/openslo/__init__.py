"""OpenSLO v1 files in, SLOs and the rollups that count for them out.

May import `config`, `derive` and below.
"""
