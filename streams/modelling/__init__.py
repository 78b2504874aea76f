"""Training and comparing models, for commands and workers: tables or panels in, stored versions and reports
out.

May import `capacity`, `publish` and below.
"""
