"""Instants in; units of time, time zones and the periods of a calendar out.

May import nothing else of this project.
"""
