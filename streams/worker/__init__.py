"""The stages on Kafka: topics in; partials, blocks, alerts and HTTP out. Tasks, assignments and restarts
are handled here.

May import `modelling` and below.
"""
