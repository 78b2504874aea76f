"""Columns made from columns: an `EventBatch` in; entities, attack signatures and log signatures out.

May import `partials` and below.
"""
