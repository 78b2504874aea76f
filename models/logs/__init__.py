"""Log lines in, templates and the reviews that people gave them out.

May import `arrays`, `calendar`, `processes`.
"""
