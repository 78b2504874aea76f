"""The demo: a broker, a small product with an incident, a real worker, and a table of what it sees."""
