"""YAML text in; documents that know the line of each value, and validated models, out.

May import what `language` may.
"""
