"""Models that learn and predict: arrays in, arrays out; nothing here knows Kafka or Faust."""
