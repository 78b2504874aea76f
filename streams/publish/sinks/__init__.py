"""Transitions of alerts in, requests to Alertmanager and notifiers out.

May import what `publish` may.
"""
