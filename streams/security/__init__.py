"""Entities of a source (addresses, users, keys, sessions) as rollups, for the security detector."""
