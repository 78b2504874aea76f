"""SLIs and signals as pandas DataFrames, from where they are: Kafka, a replay's files, Prometheus."""
