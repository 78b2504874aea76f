"""YAML, durations and expressions as users write them in; values, or mistakes with file, line and nearest
known key, out.

May import `events` and below.
"""
