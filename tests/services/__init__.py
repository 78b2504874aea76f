"""The real peers that tests and benchmarks run against: Kafka, Prometheus, Alertmanager."""
