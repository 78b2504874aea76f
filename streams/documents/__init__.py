"""YAML documents whose every value knows its line, and the mistakes found in them."""
