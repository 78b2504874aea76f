"""Tables of cumulative counts, sketches and distinct counts: encoded as frames by the aggregate stage,
decoded and merged by the window stage.

May import `decode`, `plan` and below.
"""
