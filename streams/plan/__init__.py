"""What runs, as values: sources, rollups, SLOs, monitors, resources, and their diagram. Stages read the
plan; it imports no stage.

May import `language` and below.
"""
