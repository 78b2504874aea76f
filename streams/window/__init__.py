"""Frames in; rolling sums of all series of a partition, sealed buckets, and blocks for restarts out.

May import `aggregate` and below.
"""
