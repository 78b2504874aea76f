"""One module for each command of the command line; each reads its arguments and calls the code that works."""
