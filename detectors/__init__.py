"""Detectors, SLOs and alerts: arrays in, verdicts and alerts out. Nothing here knows Kafka, Faust or
configuration.

May import `models`.
"""
