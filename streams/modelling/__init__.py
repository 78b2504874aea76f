"""What the commands do with models: train and store them, compare and promote them."""
