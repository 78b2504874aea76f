"""OpenSLO v1: its objects (`objects`), reading (`read`), and what they come down to (`resolve`)."""
