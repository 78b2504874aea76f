"""The demo: an embedded broker, generated traffic with an incident and a real worker in; a live table out.

May import `offline`, `worker` and below.
"""
