"""Access to the broker: topics in, batches of one fetch each out; also reading a topic to its end, and
capture.

May import `openslo`, `sigma` and below.
"""
