"""Configuration: its shape (`models`), loading (`load`), compilation to a plan (`compile`), and `check`."""
