"""What was seen in the field: each module has a subject, and each test what broke."""
