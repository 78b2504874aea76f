"""What was seen where the product is used: each module a subject, each test fails without its fix."""
