"""The interface of all detectors, a `Panel` in and `Verdicts` out, and how they are found by name.

May import `models`.
"""
