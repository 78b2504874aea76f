"""The flow: decode → derive → aggregate → partials → window → judge → publish, and what configures and
drives it.

May import `detectors` and below.
"""
