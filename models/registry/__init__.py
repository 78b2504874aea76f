"""Learnt states in, stored versions with manifests, roles and comparisons out; training in a process of its
own.

May import `arrays`, `calendar`, `processes`.
"""
