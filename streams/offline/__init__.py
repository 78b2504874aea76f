"""The stages without Kafka: files in, tables of SLIs, alerts, anomalies and forecasts out.

May import `modelling` and below.
"""
