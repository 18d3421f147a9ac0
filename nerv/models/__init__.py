"""Networks that hold a clip."""
