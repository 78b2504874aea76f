"""Models that learn and predict: arrays in, arrays out. Nothing here knows Kafka, Faust or configuration.

May import nothing else of this project.
"""
