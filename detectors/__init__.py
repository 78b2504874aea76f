"""Detectors that judge: arrays in, verdicts out; nothing here knows Kafka or Faust."""
