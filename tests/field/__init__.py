"""What was seen in the field: each module has a subject, and each test fails without its fix."""
