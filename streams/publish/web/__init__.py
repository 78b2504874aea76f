"""HTTP requests in; `/metrics`, the live page and its JSON out.

May import what `publish` may.
"""
