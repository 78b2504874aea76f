"""One module per command of the command line: it parses arguments, calls the code that does the work, and
prints.

May import `demo` and below.
"""
